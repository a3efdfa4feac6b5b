//! The documents of the project.

use std::{fs, path::Path};

#[test]
fn every_link_within_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let documents = docs.map(|entry| entry.unwrap().path());
    for document in documents.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&document).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap();
            let there = path.is_empty()
                || path.contains("://")
                || document.parent().unwrap().join(path).exists();
            assert!(there, "{}: {target}", document.display());
        }
    }
}
