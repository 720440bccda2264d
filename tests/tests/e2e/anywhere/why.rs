//! Why something was refused, told to people and to the agent.

use agentguard_tests::guard::{Guard, agentguard, as_nobody, attempt_words, lines};
use agentguard_tests::{Outcome, in_vm, net};
use serde_json::Value;

use crate::CODER;

fn why(words: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let output = agentguard(&[&["why", "--json"], words].concat())?;
    assert!(output.status.success(), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_refusal_is_explained_and_the_rule_that_it_suggests_mends_it() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let suggested = {
        let guard = Guard::start(&[CODER])?;
        assert_eq!(agentguard(&["why"])?.status.code(), Some(80), "nothing was refused yet");
        guard.attempt("coder", "connect 10.77.0.3:443 connect 10.77.0.2:443")?;
        let decisions = guard.decisions()?;
        let last = why(&[])?;
        assert_eq!(
            (&last["resource"], &last["reason"]),
            (&"tcp://10.77.0.3:443".into(), &"default".into())
        );
        let allowed = decisions.iter().find(|event| event["outcome"] == "allowed");
        let id = allowed.and_then(|event| event["id"].as_str()).ok_or("nothing allowed")?;
        let allowed = why(&[id])?;
        assert_eq!((&allowed["rule"], &allowed["outcome"]), (&"api".into(), &"allowed".into()));
        assert!(allowed["place"].as_str().is_some_and(|place| place.ends_with("0.yaml:5")));
        let would = why(&["--agent", "coder", "connect", "10.77.0.2:443/udp"])?;
        assert_eq!((&would["rule"], &would["outcome"]), (&"api".into(), &"allowed".into()));
        for (words, code) in [
            (&["why", "no-such-id"][..], 80),
            (&["why", "--agent", "nobody", "connect", "10.0.0.1:1"], 65),
            (&["why", "--agent", "coder", "connect", "nonsense"], 2),
            (&["why", "--agent", "coder", "go", "10.0.0.1:1"], 2),
            (&["why", "--self"], 2),
        ] {
            assert_eq!(agentguard(words)?.status.code(), Some(code), "{words:?}");
        }
        last["would_allow"].as_str().ok_or("no rule is suggested")?.to_owned()
    };
    let guard = Guard::start(&[&format!("{CODER}{suggested}\n")])?;
    assert_eq!(guard.attempt("coder", "connect 10.77.0.3:443")?, ["connect 10.77.0.3:443 ok"]);
    Ok(())
}

#[test]
fn an_agent_learns_of_its_own_refusals_and_of_no_others() -> Outcome {
    if !in_vm() {
        return Ok(());
    }
    net::outside()?;
    let guard = Guard::start(&[CODER])?;
    guard.attempt("coder", "connect 10.77.0.3:80")?;
    let other = why(&[])?["id"].as_str().ok_or("no id")?.to_owned();
    let script = format!(
        "agentguard why --self >/dev/null; echo $?
        {}
        for n in $(seq 100); do agentguard why --self --json && break; sleep 0.1; done
        agentguard why {other}; echo $?
        agentguard why --agent coder connect 10.77.0.2:443; echo $?",
        attempt_words("connect 10.77.0.3:9999").join(" ")
    );
    let mut command = guard.run("coder", &["bash", "-c", &script]);
    let output = lines(&as_nobody(&mut command).output()?);
    let [before, attempt, own, others, policy] = &output[..] else {
        return Err(format!("{output:?}").into());
    };
    assert_eq!((before.as_str(), attempt.as_str()), ("80", "connect 10.77.0.3:9999 EPERM"));
    let own: Value = serde_json::from_str(own)?;
    assert_eq!(own["resource"], "tcp://10.77.0.3:9999");
    assert_eq!((others.as_str(), policy.as_str()), ("80", "68"));
    Ok(())
}
