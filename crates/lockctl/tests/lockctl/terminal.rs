//! `lockctl run` in a real terminal: tmux types.

use std::path::Path;
use std::process::Command;

use testbed::{Scratch, eventually};

use crate::app::{SOON, client, eventually_free, scratch, shared, written};

/// A terminal of its own; it ends with its value.
struct Terminal {
    dir: Scratch,
    socket: String,
}

impl Terminal {
    /// A terminal in which a shell runs `script`.
    fn start(name: &str, url: &str, script: &str) -> Self {
        let dir = scratch(name);
        let socket = dir.path().join("tmux").display().to_string();
        let terminal = Self { dir, socket };
        let variable = format!("LOCK_URL={url}");
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-e",
            &variable,
            "-c",
            &terminal.path().display().to_string(),
            "bash",
            "-c",
            script,
        ]);
        terminal
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-S", &self.socket])
            .args(args)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]);
    }

    async fn code(&self) -> i32 {
        written(&self.path().join("code"), |text| text.trim().parse().ok()).await
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The shell goes on after Ctrl-C, to write the code down.
fn script(key: &str, command: &str) -> String {
    let lockctl = env!("CARGO_BIN_EXE_lockctl");
    format!("trap : INT; {lockctl} run -k {key} -- {command} 2> told; echo $? > code")
}

#[tokio::test]
async fn ctrl_c_while_waiting_ends_the_wait() {
    let service = shared().await;
    let guard = client(service)
        .acquire("terminal/held", Default::default())
        .await
        .unwrap();
    let script = script("terminal/held", "touch ran");
    let terminal = Terminal::start("waiting", service.url(), &script);
    written(&terminal.path().join("told"), |text| {
        text.contains("place 1 of 1").then_some(())
    })
    .await;
    terminal.press("C-c");
    assert_eq!(terminal.code().await, 130);
    assert!(!terminal.path().join("ran").exists());
    guard.release().await.unwrap();
    eventually_free(service, "terminal/held").await;
}

#[tokio::test]
async fn ctrl_c_while_running_reaches_the_command_once_and_its_end_counts() {
    let service = shared().await;
    let command = "bash -c 'trap \"echo heard >> heard\" INT; echo > ready; while ! test -e end; do sleep 0.05; done; exit 4'";
    let terminal = Terminal::start("running", service.url(), &script("terminal/run", command));
    written(&terminal.path().join("ready"), |text| {
        (!text.is_empty()).then_some(())
    })
    .await;
    terminal.press("C-c");
    written(&terminal.path().join("heard"), |text| {
        (!text.is_empty()).then_some(())
    })
    .await;
    std::fs::write(terminal.path().join("end"), "").unwrap();
    assert_eq!(terminal.code().await, 4);
    let heard = std::fs::read_to_string(terminal.path().join("heard")).unwrap();
    assert_eq!(heard, "heard\n");
    eventually_free(service, "terminal/run").await;
}

#[tokio::test]
async fn the_headings_of_a_table_are_bold_on_a_terminal() {
    let lockctl = env!("CARGO_BIN_EXE_lockctl");
    let script = format!("env -u NO_COLOR {lockctl} list; echo $? > code; sleep 600");
    let terminal = Terminal::start("bold", shared().await.url(), &script);
    assert_eq!(terminal.code().await, 0);
    eventually("the table is shown", SOON, async || {
        let screen = terminal.tmux(&["capture-pane", "-e", "-p"]);
        let bold = screen.contains("\u{1b}[1mKEY");
        bold.then_some(()).ok_or(screen)
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_command_reads_from_the_terminal() {
    let service = shared().await;
    let command = "bash -c 'echo > ready; read -r word; echo \"got $word\" > got'";
    let terminal = Terminal::start("reading", service.url(), &script("terminal/read", command));
    written(&terminal.path().join("ready"), |text| {
        (!text.is_empty()).then_some(())
    })
    .await;
    terminal.tmux(&["send-keys", "hello", "Enter"]);
    assert_eq!(terminal.code().await, 0);
    let got = std::fs::read_to_string(terminal.path().join("got")).unwrap();
    assert_eq!(got, "got hello\n");
}
