//! What a service tells of its API: one OpenAPI document, built from the code whenever somebody asks for
//! it, so that an idle service holds nothing of it.

mod common;
mod endpoint;
#[cfg(feature = "introspection")]
mod routes;
pub mod schema;
mod ui;

use std::collections::BTreeMap;

use utoipa::openapi::{
    Components, Info, OpenApi, OpenApiBuilder, Paths, RefOr, Schema,
    info::License,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    tag::{Tag, TagBuilder},
};

#[cfg(feature = "introspection")]
pub use self::routes::unlike;
pub use self::{endpoint::Endpoint, ui::routes as serve};

/// Builds the document of a service.
pub type Document = fn() -> OpenApi;

/// A document in the making.
pub struct DocumentBuilder {
    info: Info,
    tags: Vec<Tag>,
    paths: Paths,
    schemas: BTreeMap<String, RefOr<Schema>>,
    key: Option<String>,
}

impl DocumentBuilder {
    /// The document of a service that is called `title`; the calls that all services have are in it.
    pub fn new(title: &str, version: &str, about: &str) -> Self {
        let mut info = Info::new(title, version);
        info.description = Some(about.to_owned());
        let mut license = License::new("Apache-2.0");
        license.identifier = Some("Apache-2.0".to_owned());
        info.license = Some(license);
        let document = Self {
            info,
            tags: Vec::new(),
            paths: Paths::new(),
            schemas: BTreeMap::new(),
            key: None,
        };
        document.endpoints(common::endpoints())
    }

    /// Says what the bearer key is that some calls need.
    #[must_use]
    pub fn key(mut self, about: &str) -> Self {
        self.key = Some(about.to_owned());
        self
    }

    /// Adds a group of calls.
    #[must_use]
    pub fn tag(mut self, name: &str, about: &str) -> Self {
        let tag = TagBuilder::new().name(name).description(Some(about));
        self.tags.push(tag.build());
        self
    }

    /// Adds calls, and the schemas that they name.
    #[must_use]
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        for endpoint in endpoints {
            let (path, method, operation, schemas) = endpoint.into_parts();
            self.paths.add_path_operation(path, vec![method], operation);
            self.schemas.extend(schemas);
        }
        self
    }

    /// The document.
    pub fn build(mut self) -> OpenApi {
        let about = "Health, metrics, and what this service tells of itself.";
        self = self.tag(common::TAG, about);
        let mut components = Components::new();
        components.schemas = self.schemas;
        if let Some(about) = self.key {
            let key = HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(about));
            components.add_security_scheme(endpoint::KEY, SecurityScheme::Http(key.build()));
        }
        OpenApiBuilder::new()
            .info(self.info)
            .tags(Some(self.tags))
            .paths(self.paths)
            .components(Some(components))
            .build()
    }
}
