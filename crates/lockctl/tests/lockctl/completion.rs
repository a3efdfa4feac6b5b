//! What comes from the command line itself: completion, the man page, the help.

use crate::app::run;

const NOBODY: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn the_completion_of_bash_is_one_that_bash_takes() {
    let (code, script) = run(NOBODY, &["completion", "bash"]).await;
    assert_eq!(code, 0);
    let dir = crate::app::scratch("completion");
    let file = dir.path().join("lockctl.bash");
    std::fs::write(&file, script).unwrap();
    let words = "COMP_WORDS=(lockctl rel); COMP_CWORD=1; _lockctl lockctl rel lockctl; echo \"${COMPREPLY[@]}\"";
    let bash = format!("source {}; {words}", file.display());
    let output = std::process::Command::new("bash")
        .args(["-c", &bash])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "release");
}

#[tokio::test]
async fn the_man_page_and_the_help_name_every_command_and_exit_code() {
    let (code, page) = run(NOBODY, &["man"]).await;
    assert_eq!(code, 0);
    let (_, help) = run(NOBODY, &["--help"]).await;
    for word in ["run", "acquire", "force", "doctor", "75", "76", "127"] {
        assert!(page.contains(word), "man: {word}");
        assert!(help.contains(word), "help: {word}: {help}");
    }
    assert!(!help.contains("run-command"), "{help}");
    let commands = help
        .split("\n\n")
        .find(|part| part.starts_with("Commands:"));
    for line in commands.unwrap().lines().skip(1) {
        let words = line.split_whitespace().count();
        assert!(words > 2, "it does not say what it does: {line}");
    }
    assert_eq!(
        run(NOBODY, &["run", "--ttl", "60", "-k", "x", "--", "true"])
            .await
            .0,
        2
    );
}
