//! The list of an object's versions, which S3 tells in XML.

use serde::Deserialize;

use super::S3Error;

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its id.
    pub id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    #[serde(default)]
    is_truncated: bool,
    #[serde(default)]
    version: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    key: String,
    version_id: String,
}

/// Those of `object`, the first one first: S3 lists the last one first, and the names that only begin as
/// the object's after it.
pub(super) fn parse(body: &[u8], object: &str) -> Result<Vec<Version>, S3Error> {
    let wrong = |why: String| S3Error::Refused(format!("the list of versions: {why}"));
    let list: List =
        quick_xml::de::from_reader(body).map_err(|err| wrong(format!("not as expected: {err}")))?;
    if list.is_truncated && list.version.iter().all(|row| row.key == object) {
        return Err(wrong(
            "the object has more versions than one list holds".to_owned(),
        ));
    }
    let ours = list.version.into_iter().filter(|row| row.key == object);
    let mut versions: Vec<_> = ours.map(|row| Version { id: row.version_id }).collect();
    versions.reverse();
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(truncated: bool, rows: &[(&str, &str)]) -> String {
        let rows = rows.iter().map(|(key, id)| {
            format!("<Version><Key>{key}</Key><VersionId>{id}</VersionId><IsLatest>true</IsLatest></Version>")
        });
        let rows: String = rows.collect();
        format!(
            "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"x\"><Name>b</Name><IsTruncated>{truncated}</IsTruncated>\
             {rows}<DeleteMarker><Key>a</Key><VersionId>9</VersionId></DeleteMarker></ListVersionsResult>"
        )
    }

    #[test]
    fn the_first_version_comes_first_and_other_objects_do_not_come() {
        let xml = list(true, &[("a", "3"), ("a", "1"), ("ab", "2")]);
        let ids: Vec<_> = parse(xml.as_bytes(), "a")
            .unwrap()
            .into_iter()
            .map(|one| one.id)
            .collect();
        assert_eq!(ids, ["1", "3"]);
    }

    #[test]
    fn an_object_without_versions_has_none() {
        assert_eq!(parse(list(false, &[]).as_bytes(), "a").unwrap(), []);
    }

    #[test]
    fn a_list_that_is_not_whole_is_refused() {
        let err = parse(list(true, &[("a", "1")]).as_bytes(), "a").unwrap_err();
        assert!(err.to_string().contains("more versions"), "{err}");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let err = parse(b"<html>", "a").unwrap_err();
        assert!(err.to_string().contains("the list of versions"), "{err}");
    }
}
