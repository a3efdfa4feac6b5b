//! docs/locking.md: each recipe is run as it is printed.

use std::fs;

use testbed::{Launch, Postgres, workspace_root};

use crate::app::{eventually_free, launch, outcome, scratch, shared};

/// The recipes in a language, in their order.
fn recipes(language: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace_root().join("docs/locking.md")).unwrap();
    let begin = format!("<!-- recipe: {language} -->\n```{language}\n");
    let blocks = text.split(&begin).skip(1);
    let recipes: Vec<String> = blocks
        .map(|block| block.split("```").next().unwrap().to_owned())
        .collect();
    assert!(!recipes.is_empty(), "{language}");
    recipes
}

/// A recipe's interpreter, which finds `lockctl` and the service.
fn interpreter(name: &str, url: &str) -> Launch {
    let lockctl = std::path::Path::new(env!("CARGO_BIN_EXE_lockctl"));
    let bin = lockctl.parent().unwrap().display();
    let path = format!("{bin}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    Launch::new(name, name)
        .env("PATH", path)
        .env("LOCK_URL", url)
}

#[tokio::test]
async fn the_recipes_of_the_documentation_do_what_they_say_in_bash() {
    let service = shared().await;
    let dir = scratch("bash-recipes");
    for recipe in recipes("bash") {
        let bash = interpreter("bash", service.url())
            .dir(dir.path())
            .args(["-c", &recipe]);
        let (code, text) = outcome(&bash.spawn().unwrap()).await;
        assert_eq!(code, 0, "{recipe}\n{text}");
    }
    let log = fs::read_to_string(dir.path().join("report.log")).unwrap();
    assert!(log.contains("under token"), "{log}");
    eventually_free(service, "nightly/report").await;
    eventually_free(service, "deploy").await;
}

#[tokio::test]
async fn the_recipes_of_the_documentation_do_what_they_say_in_python() {
    let service = shared().await;
    let [recipe] = &recipes("python")[..] else {
        panic!("one recipe")
    };
    let python = interpreter("python3", service.url()).args(["-c", recipe]);
    let (code, text) = outcome(&python.spawn().unwrap()).await;
    assert!(code == 0 && text.contains("released: True"), "{text}");
    eventually_free(service, "python/report").await;
}

#[tokio::test]
async fn the_recipes_of_the_documentation_do_what_they_say_in_rust() {
    let service = shared().await;
    let example = workspace_root().join("crates/lock-client/examples/single_instance.rs");
    let example = fs::read_to_string(example).unwrap();
    assert_eq!(
        recipes("rust"),
        [example],
        "the example is what the document shows"
    );
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "lock-client"])
        .args(["--example", "single_instance", "--", service.url()])
        .current_dir(workspace_root())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&cargo.stderr).into_owned();
    assert!(
        cargo.status.success() && text.contains("working under token"),
        "{text}"
    );
    eventually_free(service, "single-instance").await;
}

#[tokio::test]
async fn the_recipes_of_the_documentation_do_what_they_say_in_sql() {
    let service = shared().await;
    let postgres = Postgres::start().await.unwrap();
    let dir = scratch("sql-recipes");
    fs::write(dir.path().join("report.sql"), &recipes("sql")[0]).unwrap();
    let write = async |token: &str| {
        let psql = format!(
            "psql '{}' -q -t -v ON_ERROR_STOP=1 -v token={token} -v epoch=$LOCK_TOKEN_EPOCH -v body=x -f report.sql",
            postgres.url()
        );
        let run = launch(service.url()).dir(dir.path()).args([
            "run",
            "-k",
            "sql/report",
            "--",
            "sh",
            "-c",
            &psql,
        ]);
        let (code, text) = outcome(&run.spawn().unwrap()).await;
        assert_eq!(code, 0, "{text}");
        text.contains("written under token")
    };
    assert!(write("$LOCK_FENCING_TOKEN").await);
    assert!(write("$LOCK_FENCING_TOKEN").await, "a later token");
    assert!(!write("1").await, "a token of the past");
}
