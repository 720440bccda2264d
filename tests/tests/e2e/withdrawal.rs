//! Taking agentguard off. The module's name puts it after the others: who comes next has to load
//! the programs again.

use agentguard_tests::guard::{Guard, Waiting, agentguard, attempt_words};
use agentguard_tests::{Outcome, in_vm};

use crate::CODER;

#[test]
fn unload_is_refused_while_a_session_runs() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    let mut guard = Guard::start(&[CODER])?;
    assert_eq!(agentguard(&["unload"])?.status.code(), Some(68), "the daemon is up");
    let mut agent =
        Waiting::start(guard.run("coder", &attempt_words("wait-for-line connect 127.0.0.1:9")))?;
    guard.stop_daemon()?;
    assert_eq!(agentguard(&["unload"])?.status.code(), Some(77), "a session is running");
    agent.go()?;
    assert_eq!(agent.rest()?, ["connect 127.0.0.1:9 EPERM"]);
    assert!(agentguard(&["unload"])?.status.success());
    assert!(!std::path::Path::new("/sys/fs/bpf/agentguard").exists());
    Ok(())
}
