//! How to reach S3.

use std::path::PathBuf;

use secrecy::SecretString;
use service_kit::{
    duration::LongDuration,
    settings,
    settings::{Flag, SettingsError},
};

use crate::store::s3::{Keys, S3Error, S3Options};

settings! {
    /// The store `s3`.
    pub struct S3Settings {
        /// Bucket that the locks are in.
        pub bucket: Option<String> => Setting::env("S3_BUCKET").allowed("the name of a bucket"),
        /// What the names of the objects begin with, before a `/`.
        pub folder: String => Setting::env("S3_FOLDER").default("locks").allowed("letters, digits, `-`, `_`, `.` and `/` between them"),
        /// Address of the server; without it that of AWS in the region.
        pub endpoint: Option<String> => Setting::env("S3_ENDPOINT").allowed("an http or https URL that ends after the port"),
        /// Region of the bucket.
        pub region: String => Setting::env("S3_REGION").default("us-east-1").allowed("the name of a region"),
        /// Whether the bucket stands in the path, as most servers but AWS want it, and not in the name of the host.
        pub path_style: Flag => Setting::env("S3_PATH_STYLE").default("false").allowed("`true` or `false`"),
        /// Access key; without one the keys are those of AWS_ACCESS_KEY_ID, of AWS's files or of a web identity.
        pub access_key: Option<String> => Setting::env("S3_ACCESS_KEY").allowed("an access key"),
        /// Its secret.
        pub secret_key: Option<SecretString> => Setting::env("S3_SECRET_KEY").allowed("a secret key").secret(),
        /// Address of the service that gives keys for a web identity; without it AWS's.
        pub sts_endpoint: Option<String> => Setting::env("S3_STS_ENDPOINT").allowed("an http or https URL"),
        /// File of the certificate authorities to be trusted, instead of the system's.
        pub ca_file: Option<PathBuf> => Setting::env("S3_CA_FILE").allowed("a PEM file"),
        /// How long one call to S3 may take.
        pub timeout: LongDuration<100> => Setting::env("S3_TIMEOUT").default("2s").allowed("a duration from `100ms`"),
    }
}

impl S3Settings {
    /// The options of the client.
    ///
    /// # Errors
    /// The bucket is missing, one of the keys is, or the folder is none.
    pub fn options(&self) -> Result<S3Options, SettingsError> {
        let wrong = |line: &str| SettingsError(line.to_owned());
        let Some(bucket) = self.bucket.clone() else {
            return Err(wrong(
                "setting s3.bucket (SHARED_LOCK_S3_BUCKET) is missing: the store `s3` needs a bucket",
            ));
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let is_segment =
            |segment: &str| !matches!(segment, "" | "." | "..") && segment.chars().all(plain);
        if !self.folder.split('/').all(is_segment) {
            let folder = &self.folder;
            return Err(SettingsError(format!(
                "setting s3.folder (SHARED_LOCK_S3_FOLDER) is `{folder}`: expected letters, digits, `-`, `_`, `.` and `/` between them"
            )));
        }
        let keys = match (self.access_key.clone(), self.secret_key.clone()) {
            (Some(access_key), Some(secret_key)) => Some(Keys {
                access_key,
                secret_key,
            }),
            (None, None) => None,
            _ => {
                return Err(wrong(
                    "SHARED_LOCK_S3_ACCESS_KEY and SHARED_LOCK_S3_SECRET_KEY are set together or not at all",
                ));
            }
        };
        Ok(S3Options {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            bucket,
            path_style: self.path_style.0,
            keys,
            sts_endpoint: self.sts_endpoint.clone(),
            ca_file: self.ca_file.clone(),
        })
    }

    /// The line about an option that the client refuses.
    pub fn refusal(&self, error: &S3Error) -> SettingsError {
        match error {
            S3Error::Option(option, why) => {
                let env = option.to_uppercase();
                SettingsError(format!("setting s3.{option} (SHARED_LOCK_S3_{env}): {why}"))
            }
            other => SettingsError(other.to_string()),
        }
    }
}
