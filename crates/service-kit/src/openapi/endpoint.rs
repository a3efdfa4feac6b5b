//! One call, as the document has it.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, Content, ContentBuilder, Header, HttpMethod, ObjectBuilder, RefOr, Required,
        Response, ResponseBuilder, Schema,
        path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn},
        request_body::RequestBodyBuilder,
        schema::AnyOfBuilder,
        security::SecurityRequirement,
    },
};

use super::schema::{members, named, text, whole, word};
use crate::problem::{
    BODY_TIMEOUT, BODY_TOO_LARGE, INTERNAL, INVALID, MALFORMED, Problem, ProblemBody, ProblemKind,
    UNSUPPORTED_MEDIA_TYPE,
};

/// The name of the security scheme of bearer keys.
pub(super) const KEY: &str = "key";

type Schemas = Vec<(String, RefOr<Schema>)>;

/// A call: what it takes, what it answers, how it is refused.
pub struct Endpoint {
    path: String,
    method: HttpMethod,
    operation: OperationBuilder,
    answers: BTreeMap<u16, Response>,
    has_problems: bool,
    refusals: Vec<&'static ProblemKind>,
    /// Members that some kinds of problems have beside the common ones.
    members: Vec<(u16, &'static str, RefOr<Schema>)>,
    schemas: Schemas,
}

impl Endpoint {
    /// The call of `method` on `path`. `id` names it for generated clients, `summary` for people.
    pub fn new(method: HttpMethod, path: impl Into<String>, id: &str, summary: &str) -> Self {
        let problems = Self::bare(method, path, id, summary);
        Self {
            has_problems: true,
            ..problems
        }
        .refuses(&[&INTERNAL])
    }

    /// The same on a wire whose errors are no problems.
    pub fn bare(method: HttpMethod, path: impl Into<String>, id: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new()
            .operation_id(Some(id))
            .summary(Some(summary));
        Self {
            path: path.into(),
            method,
            operation,
            answers: BTreeMap::new(),
            has_problems: false,
            refusals: Vec::new(),
            members: Vec::new(),
            schemas: Vec::new(),
        }
    }

    /// The group that it belongs to.
    #[must_use]
    pub fn tag(mut self, tag: &str) -> Self {
        self.operation = self.operation.tag(tag);
        self
    }

    /// What a reader should know beside the summary.
    #[must_use]
    pub fn about(mut self, about: &str) -> Self {
        self.operation = self.operation.description(Some(about));
        self
    }

    /// A part of the path.
    #[must_use]
    pub fn path(self, name: &str, about: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Path, Required::True, name, about, schema)
    }

    /// A parameter of the query that may be left out.
    #[must_use]
    pub fn query(self, name: &str, about: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Query, Required::False, name, about, schema)
    }

    /// A parameter of the query that must be there.
    #[must_use]
    pub fn needs(self, name: &str, about: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Query, Required::True, name, about, schema)
    }

    /// A header that may be left out.
    #[must_use]
    pub fn header(self, name: &str, about: &str, schema: impl Into<RefOr<Schema>>) -> Self {
        self.parameter(ParameterIn::Header, Required::False, name, about, schema)
    }

    /// What only whoever shows a bearer key may do.
    #[must_use]
    pub fn needs_key(mut self) -> Self {
        let none: [&str; 0] = [];
        let key = SecurityRequirement::new(KEY, none);
        self.operation = self.operation.security(key);
        self
    }

    /// A body of JSON under the name `name`, and the refusals that come with one.
    #[must_use]
    pub fn takes(mut self, name: &str, schema: impl Into<RefOr<Schema>>, example: Value) -> Self {
        self.schemas.push((name.to_owned(), schema.into()));
        let content = ContentBuilder::new()
            .schema(Some(named(name)))
            .example(Some(example));
        self.takes_forms([("application/json", content.build())])
            .refuses(&[&MALFORMED, &UNSUPPORTED_MEDIA_TYPE, &INVALID])
    }

    /// A body in one of several forms.
    #[must_use]
    pub fn takes_forms<'a>(mut self, forms: impl IntoIterator<Item = (&'a str, Content)>) -> Self {
        let body = RequestBodyBuilder::new().required(Some(Required::True));
        let body = forms
            .into_iter()
            .fold(body, |body, (form, content)| body.content(form, content));
        self.operation = self.operation.request_body(Some(body.build()));
        self.refuses(&[&BODY_TIMEOUT, &BODY_TOO_LARGE])
    }

    /// An answer of JSON.
    #[must_use]
    pub fn answers<T: ToSchema>(mut self, status: u16, about: &str, example: Value) -> Self {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        let content = ContentBuilder::new()
            .schema(Some(named(&T::name())))
            .example(Some(example));
        self.answers_with(status, about, [("application/json", content.build())])
    }

    /// An answer of JSON of one of two kinds.
    #[must_use]
    pub fn answers_either<A: ToSchema, B: ToSchema>(
        self,
        status: u16,
        about: &str,
        example: Value,
    ) -> Self {
        let either = AnyOfBuilder::new()
            .item(named(&A::name()))
            .item(named(&B::name()));
        let content = ContentBuilder::new()
            .schema(Some(Schema::from(either)))
            .example(Some(example));
        self.answers::<A>(status, about, Value::Null)
            .answers::<B>(status, about, Value::Null)
            .answers_with(status, about, [("application/json", content.build())])
    }

    /// An answer of bare text.
    #[must_use]
    pub fn answers_text(self, status: u16, about: &str) -> Self {
        let content = Content::new(Some(text()));
        self.answers_with(status, about, [("text/plain", content)])
    }

    /// An answer in one of several forms; in none, it has no body.
    #[must_use]
    pub fn answers_with<'a>(
        mut self,
        status: u16,
        about: &str,
        forms: impl IntoIterator<Item = (&'a str, Content)>,
    ) -> Self {
        let answer = ResponseBuilder::new().description(about);
        let answer = forms.into_iter().fold(answer, |answer, (form, content)| {
            answer.content(form, content)
        });
        self.answers.insert(status, answer.build());
        self
    }

    /// A header of an answer that was named before.
    #[must_use]
    pub fn with_header(
        mut self,
        status: u16,
        name: &str,
        about: &str,
        schema: ObjectBuilder,
    ) -> Self {
        if let Some(answer) = self.answers.get_mut(&status) {
            let mut header = Header::new(schema);
            header.description = Some(about.to_owned());
            answer.headers.insert(name.to_owned(), RefOr::T(header));
        }
        self
    }

    /// The kinds of problems that it answers, beside those told already.
    #[must_use]
    pub fn refuses(mut self, kinds: &[&'static ProblemKind]) -> Self {
        for kind in kinds.iter().filter(|_| self.has_problems) {
            if !self.refusals.iter().any(|known| known.code == kind.code) {
                self.refusals.push(kind);
            }
        }
        self
    }

    /// A kind of problem with a member of its own.
    #[must_use]
    pub fn refuses_with(
        mut self,
        kind: &'static ProblemKind,
        member: &'static str,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        self.members.push((kind.status, member, schema.into()));
        self.refuses(&[kind])
    }

    fn parameter(
        mut self,
        place: ParameterIn,
        required: Required,
        name: &str,
        about: &str,
        schema: impl Into<RefOr<Schema>>,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(about))
            .schema(Some(schema));
        self.operation = self.operation.parameter(parameter);
        self.refuses(&[&MALFORMED, &INVALID])
    }

    pub(super) fn into_parts(mut self) -> (String, HttpMethod, Operation, Schemas) {
        self.schemas
            .push((ProblemBody::name().into_owned(), ProblemBody::schema()));
        ProblemBody::schemas(&mut self.schemas);
        let statuses: BTreeMap<u16, Vec<_>> =
            self.refusals
                .iter()
                .fold(BTreeMap::new(), |mut statuses, kind| {
                    statuses
                        .entry(kind.status)
                        .or_insert_with(Vec::new)
                        .push(*kind);
                    statuses
                });
        let mut operation = self.operation;
        for (status, answer) in self.answers {
            operation = operation.response(status.to_string(), answer);
        }
        for (status, kinds) in statuses {
            let own = self.members.iter().filter(|(of, ..)| *of == status);
            let own = own.map(|(_, name, schema)| (*name, schema.clone()));
            operation = operation.response(status.to_string(), refusal(&kinds, own));
        }
        (self.path, self.method, operation.build(), self.schemas)
    }
}

/// How a call is refused with one status.
fn refusal(
    kinds: &[&'static ProblemKind],
    own: impl Iterator<Item = (&'static str, RefOr<Schema>)>,
) -> Response {
    let about: Vec<_> = kinds
        .iter()
        .map(|kind| format!("`{}`: {} {}", kind.code, kind.title, kind.remedy))
        .collect();
    let codes = members().property("code", word(kinds.iter().map(|kind| kind.code)));
    let codes = own.fold(codes, |codes, (name, schema)| codes.property(name, schema));
    let schema = AllOfBuilder::new()
        .item(named(&ProblemBody::name()))
        .item(codes);
    let mut content = ContentBuilder::new().schema(Some(Schema::from(schema)));
    if let [kind, ..] = kinds {
        content = content.example(serde_json::to_value(Problem::new(kind, "…").body()).ok());
    }
    let mut answer = ResponseBuilder::new()
        .description(about.join("\n\n"))
        .content(Problem::CONTENT_TYPE, content.build());
    if kinds.iter().any(|kind| kind.retryable) {
        let mut header = Header::new(whole(1..=u64::MAX));
        header.description = Some("Seconds after which the call may do better.".to_owned());
        answer = answer.header("Retry-After", header);
    }
    answer.build()
}
