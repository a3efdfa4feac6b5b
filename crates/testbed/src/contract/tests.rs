use serde_json::{Value, json};

use super::*;

fn contract() -> Contract {
    let answer =
        json!({ "type": "object", "properties": { "a": { "$ref": "#/components/schemas/A" } } });
    let asked =
        json!({ "type": "object", "properties": { "n": { "type": "integer", "maximum": 5 } } });
    let answers =
        json!({ "200": { "content": { "application/json": { "schema": answer } } }, "204": {} });
    let body =
        json!({ "content": { "application/json": { "schema": asked, "example": { "n": 1 } } } });
    let call = json!({ "post": { "requestBody": body, "responses": answers } });
    let a = json!({ "allOf": [
        { "type": "object", "properties": { "b": { "type": "string" } } },
        { "type": "object", "properties": { "c": { "type": "string" } } },
    ] });
    Contract::new(json!({
        "openapi": "3.1.0",
        "paths": { "/x/{key}/y": call.clone(), "/x/own/y": call },
        "components": { "schemas": { "A": a } },
    }))
    .unwrap()
}

fn judged(asked: &Value, status: u16, answer: &str) -> bool {
    let asked = asked.to_string();
    let exchange = Exchange {
        method: "POST",
        path: "/x/a%2Fb/y",
        asked: Some(asked.as_bytes()),
        status,
        content_type: Some("application/json; charset=utf-8"),
        body: answer.as_bytes(),
    };
    contract().check(&exchange).is_ok()
}

#[test]
fn an_answer_is_as_it_is_told_member_by_member() {
    let (asked, good) = (json!({ "n": 5 }), r#"{"a":{"b":"1","c":"2"}}"#);
    assert!(judged(&asked, 200, good));
    assert!(judged(&asked, 204, ""));
    for (status, answer) in [
        (201, good),
        (204, good),
        (200, r#"{"a":{"b":"1","d":"2"}}"#),
        (200, r#"{"a":{"b":1}}"#),
        (200, r#"{"b":1}"#),
        (200, "text"),
    ] {
        assert!(!judged(&asked, status, answer), "{status} {answer}");
    }
}

#[test]
fn what_was_taken_is_what_may_be_sent() {
    assert!(!judged(&json!({ "n": 6 }), 200, "{}"));
    assert!(judged(&json!({ "m": 6 }), 200, "{}"));
}

#[test]
fn a_path_of_its_own_goes_before_one_with_a_parameter() {
    let contract = contract();
    assert_eq!(contract.path_of("/x/own/y").unwrap(), "/x/own/y");
    assert_eq!(contract.path_of("/x/other/y").unwrap(), "/x/{key}/y");
    assert_eq!(contract.path_of("/x/a/b/y"), None);
}

#[test]
fn an_example_that_its_schema_refuses_is_told() {
    let schema = json!({ "schema": { "type": "string" }, "example": 5 });
    let told = Contract::new(json!({ "paths": { "/": { "get": { "content": schema } } } }));
    assert!(told.is_err());
}
