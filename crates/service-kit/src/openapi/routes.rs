//! Whether the document and the router list the same calls: for the tests of the services.

use std::collections::BTreeSet;

use actix_web::{
    App,
    introspection::IntrospectionTree,
    test::{TestRequest, call_and_read_body_json, init_service},
    web::{self, Data, ServiceConfig},
};
use serde_json::Value;

use super::Document;

/// What of the router is not in the document, and the other way round. A path that takes any method
/// is in the document with those that are meant to be used.
pub async fn unlike(document: Document, routes: impl FnOnce(&mut ServiceConfig)) -> Vec<String> {
    const REPORT: &str = "/every/route";
    let tell = async |tree: Data<IntrospectionTree>| tree.report_as_json();
    let app = App::new()
        .configure(routes)
        .configure(crate::server::common)
        .route(REPORT, web::get().to(tell));
    let request = TestRequest::get().uri(REPORT).to_request();
    let report: Vec<Value> = call_and_read_body_json(&init_service(app).await, request).await;
    let served = report.iter().filter(|route| route["full_path"] != REPORT);
    let documented = documented(document);
    let mut unlike = Vec::new();
    let mut known = BTreeSet::new();
    for route in served.filter(|route| route["resource_type"] == "resource") {
        let path = without_patterns(route["full_path"].as_str().unwrap_or_default());
        let methods: Vec<_> = route["methods"].as_array().into_iter().flatten().collect();
        let of_path = documented.iter().filter(|(of, _)| *of == path);
        if methods.is_empty() {
            let found = known.len();
            known.extend(of_path.cloned());
            if known.len() == found {
                unlike.push(format!("{path} is served and not documented"));
            }
        }
        for method in methods {
            let method = method.as_str().unwrap_or_default().to_owned();
            known.insert((path.clone(), method));
        }
    }
    unlike.extend(
        known
            .difference(&documented)
            .map(|(path, method)| format!("{method} {path} is served and not documented")),
    );
    unlike.extend(
        documented
            .difference(&known)
            .map(|(path, method)| format!("{method} {path} is documented and not served")),
    );
    unlike
}

fn documented(document: Document) -> BTreeSet<(String, String)> {
    const METHODS: [&str; 5] = ["get", "head", "post", "put", "delete"];
    let document = serde_json::to_value(document()).unwrap_or_default();
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, calls)| {
            let methods = METHODS
                .into_iter()
                .filter(|method| calls.get(method).is_some());
            methods.map(|method| (path.clone(), method.to_ascii_uppercase()))
        })
        .collect()
}

/// `/a/{b:.*}` as `/a/{b}`.
fn without_patterns(path: &str) -> String {
    let mut pieces = path.split('{');
    let literal = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(literal, |path, piece| {
        let (parameter, rest) = piece.split_once('}').unwrap_or((piece, ""));
        let name = parameter.split(':').next().unwrap_or_default();
        format!("{path}{{{name}}}{rest}")
    })
}
