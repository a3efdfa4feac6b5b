//! docs/locking.md: each recipe is run as it is printed.

use std::fs;

use testbed::{Launch, Postgres, S3, workspace_root};

use crate::app::{eventually_free, launch, outcome, scratch, shared};

/// The recipes in a language, in their order.
fn recipes(language: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace_root().join("docs/locking.md")).unwrap();
    let begin = format!("<!-- recipe: {language} -->\n");
    let blocks = text.split(&begin).skip(1);
    let recipe = |block: &str| {
        let code = block.split("```").nth(1).unwrap();
        code.split_once('\n').unwrap().1.to_owned()
    };
    let recipes: Vec<String> = blocks.map(recipe).collect();
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

/// Stands before the real `curl`: before the first upload, a later holder writes. `$DROP` is a header that gets lost.
const SLOW_CURL: &str = r#"
case " $* " in *' --upload-file '*)
    if mkdir "$RACED" 2> /dev/null; then
        echo later | LOCK_FENCING_TOKEN=$LATER PATH=/usr/bin:/bin bash ./put-fenced "$OBJECT"
    fi ;;
esac
set -- "$@"
for argument; do
    shift
    case $argument in "$DROP"*) argument='X-Nothing: x' ;; esac
    set -- "$@" "$argument"
done
exec /usr/bin/curl "$@"
"#;

#[tokio::test]
async fn the_recipes_of_the_documentation_do_what_they_say_with_s3() {
    let service = shared().await;
    let s3 = S3::start().await.unwrap();
    s3.bucket("reports").await.unwrap();
    let dir = scratch("s3-recipes");
    let [recipe] = &recipes("s3")[..] else {
        panic!("one recipe")
    };
    fs::write(dir.path().join("put-fenced"), recipe).unwrap();
    fs::create_dir(dir.path().join("slow")).unwrap();
    fs::write(
        dir.path().join("slow/curl"),
        format!("#!/bin/bash{SLOW_CURL}"),
    )
    .unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path().join("slow/curl"), executable).unwrap();
    let put = async |object: &str, script: &str| {
        let command = interpreter("lockctl", service.url())
            .dir(dir.path())
            .env("OBJECT", object)
            .env("AWS_ENDPOINT_URL", s3.endpoint())
            .env("AWS_REGION", s3.region())
            .env("AWS_ACCESS_KEY_ID", s3.access_key())
            .env("AWS_SECRET_ACCESS_KEY", s3.secret_key())
            .args(["run", "-k", object, "--", "bash", "-c", script]);
        outcome(&command.spawn().unwrap()).await
    };
    let holds = async |object: &str| {
        let get = s3.call(http::Method::GET, object, http::HeaderMap::new(), "");
        get.await.unwrap().text().await.unwrap()
    };
    let object = "reports/daily";
    let well = "echo $LOCK_FENCING_TOKEN | bash put-fenced $OBJECT";
    for turn in ["the first", "over the first"] {
        let (code, text) = put(object, well).await;
        assert_eq!(code, 0, "{turn}: {text}");
    }
    let stands = holds(object).await;
    let (fence, body) = stands.split_once('\n').unwrap();
    assert!(
        fence.starts_with(&format!("fence {} ", body.trim())),
        "{stands}"
    );
    let (code, text) = put(
        object,
        "export LOCK_FENCING_TOKEN=1; echo stale | bash put-fenced $OBJECT",
    )
    .await;
    assert!(code == 1 && text.contains("refused"), "{text}");
    assert_eq!(holds(object).await, stands);

    // Paused between reading and writing, while the next holder writes; with and without the condition.
    for (object, dropped, left) in [
        ("reports/race", "none", "later"),
        ("reports/open", "If-", "stale"),
    ] {
        let race = format!(
            "export PATH=$PWD/slow:$PATH RACED=$PWD/raced-{dropped} DROP={dropped} LATER=$((LOCK_FENCING_TOKEN + 1)); \
             echo stale | bash put-fenced $OBJECT"
        );
        let (code, text) = put(object, &race).await;
        let refused = code == 1 && text.contains("refused");
        assert_eq!(refused, left == "later", "{object}: {text}");
        assert!(
            holds(object).await.ends_with(&format!("{left}\n")),
            "{object}"
        );
    }
}
