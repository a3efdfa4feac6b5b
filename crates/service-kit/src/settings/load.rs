//! From the table of settings to their values.

use std::path::Path;

use config::{Config, ConfigError, File, FileFormat, Value, ValueKind};

use super::{Section, Setting};
use crate::duration::parse_nanos;

/// A setting that cannot be used: one line for the person who set it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);

/// Settings as loaded, with what `config` shows of them.
#[derive(Debug)]
pub struct Loaded<S> {
    /// The settings.
    pub settings: S,
    /// Each setting with its current value, secrets redacted; `None` when it has none.
    pub values: Vec<(Setting, Option<String>)>,
    /// Variables under our prefix that name no setting.
    pub unknown: Vec<String>,
}

/// Loads the settings of the service whose variables begin with `<prefix>_`.
///
/// # Errors
/// A value is missing, empty or not allowed; the line names the setting, the value and what is.
pub fn load<S: Section>(prefix: &str, file: Option<&Path>) -> Result<Loaded<S>, SettingsError> {
    let ours = format!("{prefix}_");
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(&ours))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(SettingsError(format!("the value of {name} is not UTF-8"))),
        })
        .collect::<Result<Vec<_>, _>>()?;
    load_from(prefix, file, environment)
}

fn load_from<S: Section>(
    prefix: &str,
    file: Option<&Path>,
    environment: Vec<(String, String)>,
) -> Result<Loaded<S>, SettingsError> {
    let table = S::table();
    let config = merge(prefix, &table, file, &environment)?;
    expect_numbers(prefix, &table, &config)?;
    let settings = serde_path_to_error::deserialize(config.clone()).map_err(|err| {
        let path = err.path().to_string();
        refused(prefix, &table, &config, &path, err.inner())
            .unwrap_or_else(|| unknown(file, &path, err.inner()))
    })?;
    let values = table
        .iter()
        .map(|setting| (setting.clone(), shown(setting, &config)))
        .collect();
    let known = |name: &String| {
        table
            .iter()
            .any(|setting| *name == variable(prefix, setting))
    };
    let unknown = environment
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !known(name))
        .collect();
    Ok(Loaded {
        settings,
        values,
        unknown,
    })
}

fn merge(
    prefix: &str,
    table: &[Setting],
    file: Option<&Path>,
    environment: &[(String, String)],
) -> Result<Config, SettingsError> {
    // What is wrong with a file is drawn over several lines.
    let broken = |err: ConfigError| SettingsError(err.to_string().replace('\n', " "));
    let mut builder = Config::builder();
    for setting in table {
        if let Some(default) = setting.default {
            builder = builder
                .set_default(&setting.path, default)
                .map_err(broken)?;
        }
    }
    if let Some(file) = file {
        builder = builder.add_source(File::from(file).format(FileFormat::Toml));
    }
    for setting in table {
        let name = variable(prefix, setting);
        let Some((_, value)) = environment.iter().find(|(set, _)| *set == name) else {
            continue;
        };
        let value = match value.as_str() {
            "" if setting.empty_is_none => Value::new(None, ValueKind::Nil),
            "" => {
                return Err(SettingsError(format!(
                    "setting {} ({name}) is set but empty: expected {}",
                    setting.path, setting.allowed
                )));
            }
            value => Value::from(value),
        };
        builder = builder.set_override(&setting.path, value).map_err(broken)?;
    }
    builder.build().map_err(broken)
}

fn variable(prefix: &str, setting: &Setting) -> String {
    format!("{prefix}_{}", setting.env)
}

fn shown(setting: &Setting, config: &Config) -> Option<String> {
    let value = config.get_string(&setting.path).ok()?;
    Some(match setting.secret {
        true => "(set)".to_owned(),
        false => value.chars().map(visible).collect(),
    })
}

/// A character as it may stand in a line.
fn visible(c: char) -> String {
    match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    }
}

/// The one line about a value that does not fit; serde knows the place, the table what is allowed. `None`
/// when it is about no setting that there is.
fn refused(
    prefix: &str,
    table: &[Setting],
    config: &Config,
    path: &str,
    err: &ConfigError,
) -> Option<SettingsError> {
    let message = err.to_string();
    let Some(setting) = table.iter().find(|setting| setting.path == path) else {
        let missing = table.iter().find(|s| {
            s.default.is_none()
                && config.get_string(&s.path).is_err()
                && message.contains(&format!("\"{}\"", last(&s.path)))
        });
        return missing.map(|s| {
            SettingsError(format!(
                "setting {} ({}) is missing: expected {}",
                s.path,
                variable(prefix, s),
                s.allowed
            ))
        });
    };
    Some(not_allowed(prefix, setting, shown(setting, config)))
}

fn not_allowed(prefix: &str, setting: &Setting, value: Option<String>) -> SettingsError {
    let value = match value {
        None => "missing".to_owned(),
        Some(value) if is_number(&value) && is_duration(setting) => {
            format!("`{value}`, without a unit")
        }
        Some(value) => format!("`{value}`"),
    };
    SettingsError(format!(
        "setting {} ({}) is {value}: expected {}",
        setting.path,
        variable(prefix, setting),
        setting.allowed
    ))
}

/// `config` takes `true`, `on` and `yes` for the number 1. A setting whose default is a number is one.
fn expect_numbers(prefix: &str, table: &[Setting], config: &Config) -> Result<(), SettingsError> {
    for setting in table.iter().filter(|it| it.default.is_some_and(is_number)) {
        let value = shown(setting, config);
        if value.as_deref().is_some_and(|value| !is_number(value)) {
            return Err(not_allowed(prefix, setting, value));
        }
    }
    Ok(())
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok()
}

/// A setting whose default is a duration is one.
fn is_duration(setting: &Setting) -> bool {
    let duration = |text: &str| !is_number(text) && parse_nanos(text).is_some();
    setting.default.is_some_and(duration)
}

/// The one line about what names no setting: that can only stand in the file.
fn unknown(file: Option<&Path>, path: &str, err: &ConfigError) -> SettingsError {
    let place = file.map_or("settings".to_owned(), |file| {
        format!("settings file {}", file.display())
    });
    let section = path
        .rsplit_once('.')
        .map_or(String::new(), |(section, _)| format!("[{section}] "));
    SettingsError(format!("{place}: {section}{err}"))
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::SocketAddr};

    use secrecy::SecretString;

    use super::*;
    use crate::{duration::GoDuration, settings, settings::Flag};

    settings! {
        /// Settings of a part.
        struct Part {
            /// How long to wait.
            patience: GoDuration => Setting::env("PATIENCE").default("10s").allowed("a duration such as `10s`"),
        }
    }

    settings! {
        /// Settings of a test.
        struct Whole {
            sections { part: Part, }
            /// Where to listen.
            listen: SocketAddr => Setting::env("LISTEN").default("127.0.0.1:80").allowed("an address and a port"),
            /// Whether to talk.
            talk: Flag => Setting::env("TALK").default("false").allowed("`true` or `false`"),
            /// What nobody may see.
            token: Option<SecretString> => Setting::env("TOKEN").allowed("a token").secret(),
            /// A file, or none.
            file: Option<String> => Setting::env("FILE").default("/etc/x").allowed("a path").empty_is_none(),
            /// What has no default.
            name: String => Setting::env("NAME").allowed("a name"),
            /// How many.
            many: u32 => Setting::env("MANY").default("3").allowed("a number"),
        }
    }

    fn load_env(
        environment: &[(&str, &str)],
        file: Option<&Path>,
    ) -> Result<Loaded<Whole>, String> {
        let pairs = environment
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        load_from("TEST", file, pairs).map_err(|err| err.to_string())
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        write!(
            file,
            "listen = \"127.0.0.1:81\"\nname = \"file\"\n[part]\npatience = \"1m30s\"\n"
        )
        .unwrap();
        let loaded = load_env(
            &[("TEST_NAME", "env"), ("TEST_TALK", "T")],
            Some(file.path()),
        )
        .unwrap();
        assert_eq!(loaded.settings.listen.port(), 81);
        assert_eq!(loaded.settings.name, "env");
        assert_eq!(loaded.settings.part.patience.0.as_secs(), 90);
        assert!(loaded.settings.talk.0);
        assert_eq!(loaded.settings.file.as_deref(), Some("/etc/x"));
        assert!(loaded.settings.token.is_none());
        assert_eq!(loaded.settings.many, 3);
    }

    #[test]
    fn a_bad_value_is_told_in_one_line_that_names_setting_value_and_what_is_allowed() {
        for (name, value, line) in [
            (
                "TEST_LISTEN",
                "here",
                "setting listen (TEST_LISTEN) is `here`: expected an address and a port",
            ),
            (
                "TEST_PATIENCE",
                "10",
                "setting part.patience (TEST_PATIENCE) is `10`, without a unit: expected a duration such as `10s`",
            ),
            (
                "TEST_TALK",
                "yes\nno",
                r"setting talk (TEST_TALK) is `yes\nno`: expected `true` or `false`",
            ),
            (
                "TEST_MANY",
                "TRUE",
                "setting many (TEST_MANY) is `TRUE`: expected a number",
            ),
            (
                "TEST_LISTEN",
                "",
                "setting listen (TEST_LISTEN) is set but empty: expected an address and a port",
            ),
        ] {
            assert_eq!(
                load_env(&[("TEST_NAME", "n"), (name, value)], None).unwrap_err(),
                line
            );
        }
        assert_eq!(
            load_env(&[], None).unwrap_err(),
            "setting name (TEST_NAME) is missing: expected a name"
        );
    }

    #[test]
    fn an_unknown_field_in_the_file_is_refused_by_name() {
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        write!(file, "name = \"n\"\nlisten_on = \"x\"\n").unwrap();
        let line = load_env(&[], Some(file.path())).unwrap_err();
        let told = format!(
            "settings file {}: unknown field `listen_on`",
            file.path().display()
        );
        assert!(line.starts_with(&told), "{line}");
        let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        write!(file, "name = \"n\"\n[part]\npatients = \"x\"\n").unwrap();
        let line = load_env(&[], Some(file.path())).unwrap_err();
        let told = format!(
            "settings file {}: [part] unknown field `patients`",
            file.path().display()
        );
        assert!(line.starts_with(&told), "{line}");
    }

    #[test]
    fn an_empty_variable_takes_a_default_away_where_that_is_allowed() {
        let loaded = load_env(&[("TEST_NAME", "n"), ("TEST_FILE", "")], None).unwrap();
        assert_eq!(loaded.settings.file, None);
    }

    #[test]
    fn secrets_are_not_shown_and_unknown_variables_are_named() {
        let loaded = load_env(
            &[
                ("TEST_NAME", "n"),
                ("TEST_TOKEN", "hush"),
                ("TEST_TOKKEN", "x"),
            ],
            None,
        )
        .unwrap();
        assert!(!format!("{loaded:?}").contains("hush"));
        assert_eq!(loaded.unknown, ["TEST_TOKKEN"]);
    }
}
