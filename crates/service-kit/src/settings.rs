//! Settings: defaults, then an optional TOML file, then the environment.
//!
//! Each field of a [`settings!`](crate::settings!) struct carries its own row of the table that
//! `<service> config` prints. Environment variables are mapped one by one and never by a prefix
//! scan: Kubernetes and shells put variables of their own beside ours.

mod load;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use load::{Loaded, SettingsError, load};

/// One setting: where it comes from, what it means, what is allowed.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its place in the TOML file: `server.shutdown_timeout`.
    pub path: String,
    /// Its environment variable, after the prefix of the service.
    pub env: &'static str,
    /// Its value when nobody gives one.
    pub default: Option<&'static str>,
    /// What it means.
    pub meaning: String,
    /// What values it takes.
    pub allowed: &'static str,
    /// Never to be shown.
    pub secret: bool,
    /// Whether an empty environment variable means "none" and is not an error.
    pub empty_is_none: bool,
}

impl Setting {
    /// A setting read from the environment variable `<PREFIX>_<env>`.
    pub fn env(env: &'static str) -> Self {
        Self {
            path: String::new(),
            env,
            default: None,
            meaning: String::new(),
            allowed: "",
            secret: false,
            empty_is_none: false,
        }
    }

    /// Its default, written as in the environment.
    #[must_use]
    pub fn default(self, default: &'static str) -> Self {
        Self {
            default: Some(default),
            ..self
        }
    }

    /// What values it takes, as the end of "expected …".
    #[must_use]
    pub fn allowed(self, allowed: &'static str) -> Self {
        Self { allowed, ..self }
    }

    /// Keeps it out of every output.
    #[must_use]
    pub fn secret(self) -> Self {
        Self {
            secret: true,
            ..self
        }
    }

    /// Lets a set-but-empty variable mean "none".
    #[must_use]
    pub fn empty_is_none(self) -> Self {
        Self {
            empty_is_none: true,
            ..self
        }
    }

    /// The rows of a section, with its name before their paths.
    #[doc(hidden)]
    #[must_use]
    pub fn within(section: &str, table: Vec<Self>) -> Vec<Self> {
        table
            .into_iter()
            .map(|row| Self {
                path: format!("{section}.{}", row.path),
                ..row
            })
            .collect()
    }

    /// Fills in what the struct itself tells.
    #[doc(hidden)]
    #[must_use]
    pub fn named(self, path: &str, docs: &[&str]) -> Self {
        let meaning = docs
            .iter()
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(" ");
        Self {
            path: path.to_owned(),
            meaning,
            ..self
        }
    }
}

/// A struct of settings; [`settings!`](crate::settings!) writes the implementation.
pub trait Section: DeserializeOwned {
    /// A row for each setting, in the order of the fields.
    fn table() -> Vec<Setting>;
}

/// Defines a struct of settings. Fields under `sections` are structs of settings themselves; each
/// other field says, behind `=>`, where its value comes from.
#[macro_export]
macro_rules! settings {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $(sections { $($(#[$section_meta:meta])* $section_vis:vis $section:ident: $section_ty:ty,)* })?
            $($(#[doc = $doc:literal])+ $field_vis:vis $field:ident: $ty:ty => $setting:expr,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, ::serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            $($($(#[$section_meta])* $section_vis $section: $section_ty,)*)?
            $($(#[doc = $doc])+ $field_vis $field: $ty,)*
        }

        impl $crate::settings::Section for $name {
            fn table() -> ::std::vec::Vec<$crate::settings::Setting> {
                #[allow(unused_imports, reason = "a struct of sections alone names no setting")]
                use $crate::settings::Setting;
                let sections: &[::std::vec::Vec<$crate::settings::Setting>] =
                    &[$($($crate::settings::Setting::within(stringify!($section), <$section_ty as $crate::settings::Section>::table()),)*)?];
                let mut table = sections.concat();
                table.extend([$($setting.named(stringify!($field), &[$($doc),+]),)*]);
                table
            }
        }
    };
}

/// A number within bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct Number<const LEAST: usize, const MOST: usize>(pub usize);

impl<const LEAST: usize, const MOST: usize> TryFrom<usize> for Number<LEAST, MOST> {
    type Error = &'static str;

    fn try_from(number: usize) -> Result<Self, Self::Error> {
        match (LEAST..=MOST).contains(&number) {
            true => Ok(Self(number)),
            false => Err("expected a number within bounds"),
        }
    }
}

/// A yes or no, spelled as Go's `strconv.ParseBool` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "FlagText", into = "bool")]
pub struct Flag(pub bool);

impl From<Flag> for bool {
    fn from(flag: Flag) -> Self {
        flag.0
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FlagText {
    Bool(bool),
    Text(String),
}

impl TryFrom<FlagText> for Flag {
    type Error = &'static str;

    fn try_from(text: FlagText) -> Result<Self, Self::Error> {
        match text {
            FlagText::Bool(flag) => Ok(Self(flag)),
            FlagText::Text(text) => match text.as_str() {
                "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Self(true)),
                "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Self(false)),
                _ => Err("expected `true` or `false`"),
            },
        }
    }
}
