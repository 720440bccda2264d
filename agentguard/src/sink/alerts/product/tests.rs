//! What each product is told, against a schema written after its documentation.

use super::*;
use crate::config::{AlertsConfig, Settings};
use crate::event::Severity;
use crate::sink::alerts::tracker::Notice;
use crate::sink::delivery::fake::{Fake, Seen};
use crate::sink::delivery::{Answer, Http};
use crate::sink::sample;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const SEVERITIES: [Severity; 5] =
    [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

fn notice(severity: Severity, resolved: bool) -> Notice {
    Notice {
        alert: sample::alert(severity),
        resolved,
        count: 3,
        first: 1_795_383_378_279,
        last: 1_795_383_400_000,
        until: 1_795_387_000_000,
    }
}

fn long() -> Notice {
    let mut notice = notice(Severity::High, false);
    notice.alert.summary = "ä".repeat(40_000);
    notice.alert.resource = "<&>".repeat(9000);
    notice.alert.key.rule = "r".repeat(700);
    notice.alert.key.host = "h".repeat(200);
    notice
}

/// A product, and the file that its secret is in.
struct Made {
    product: Product,
    _secret: tempfile::NamedTempFile,
}

impl std::ops::Deref for Made {
    type Target = Product;

    fn deref(&self) -> &Product {
        &self.product
    }
}

/// A product from the lines of a configuration, with the secret in a file.
fn product(lines: &str, secret: &str) -> Result<Made, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), secret).unwrap();
    let lines = lines.replace("SECRET", &format!("{{file: {}}}", file.path().display()));
    let text = format!("alerts: [{{name: x, to: {{{lines}}}}}]");
    let settings = Settings::parse("f".as_ref(), text.as_bytes());
    let AlertsConfig(sinks) = settings.map_err(|error| error.to_string())?.alerts;
    let product = Product::new(&sinks[0].to).map_err(|error| error.to_string())?;
    Ok(Made { product, _secret: file })
}

async fn told(product: &Product, fake: &Fake, notice: &Notice) -> Seen {
    let http = Http::new(&crate::config::TlsConfig::default()).unwrap();
    let request = product.request(notice, Some("https://wiki.example/#")).unwrap();
    let before = fake.seen().len();
    assert_eq!(http.send(request, |_| None).await, Answer::Taken);
    fake.seen()[before].clone()
}

fn check(schema: &str, value: &serde_json::Value) {
    let schema = serde_json::from_str(schema).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{} at {}", error, error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
}

#[tokio::test]
async fn alertmanager_gets_what_its_openapi_document_says() {
    let fake = Fake::start([]).await;
    let lines = format!("alertmanager: {{url: '{}/', labels: {{team: sec}}}}", fake.url(""));
    let product = product(&lines, KEY).unwrap();
    assert!(product.reminder(&[], None).is_some());
    for notice in SEVERITIES.map(|it| notice(it, false)).into_iter().chain([long()]) {
        let seen = told(&product, &fake, &notice).await;
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/api/v2/alerts"));
        assert_eq!(seen.header("content-type"), "application/json");
        check(include_str!("schemas/alertmanager.json"), &seen.json());
    }
    let seen = told(&product, &fake, &notice(Severity::High, false)).await.json();
    assert_eq!(seen[0]["labels"]["alertname"], "session.kill");
    assert_eq!(seen[0]["labels"]["severity"], "high");
    assert_eq!(seen[0]["labels"]["team"], "sec");
    assert_eq!(seen[0]["annotations"]["runbook_url"], "https://wiki.example/#session.kill");
    assert_eq!(seen[0]["startsAt"], "2026-11-22T21:36:18.279Z");
    let over = told(&product, &fake, &notice(Severity::High, true)).await.json();
    assert_eq!(over[0]["labels"], seen[0]["labels"], "by these it is the same alert");
}

#[tokio::test]
async fn pagerduty_gets_what_its_reference_says() {
    let fake = Fake::start([]).await;
    let url = fake.url("/v2/enqueue");
    let product = product(&format!("pagerduty: {{routing_key: SECRET, url: '{url}'}}"), KEY);
    let product = product.unwrap();
    let schema = include_str!("schemas/pagerduty.json");
    let mut levels = Vec::new();
    for notice in SEVERITIES.map(|it| notice(it, false)) {
        let seen = told(&product, &fake, &notice).await.json();
        check(schema, &seen);
        levels.push(seen["payload"]["severity"].as_str().unwrap().to_owned());
    }
    assert_eq!(levels, ["info", "warning", "warning", "error", "critical"]);
    check(schema, &told(&product, &fake, &long()).await.json());
    let raised = told(&product, &fake, &notice(Severity::High, false)).await.json();
    let over = told(&product, &fake, &notice(Severity::High, true)).await.json();
    check(schema, &over);
    assert_eq!(
        (&raised["event_action"], &over["event_action"]),
        (&"trigger".into(), &"resolve".into())
    );
    assert_eq!(raised["dedup_key"], over["dedup_key"]);
    assert_eq!(raised["routing_key"], KEY);
}

#[tokio::test]
async fn opsgenie_and_jira_get_what_their_references_say() {
    for word in ["opsgenie", "jira_service_management"] {
        let fake = Fake::start([]).await;
        let url = fake.url("/jsm/ops/integration");
        let lines = format!("{word}: {{api_key: SECRET, url: '{url}', teams: [sec], tags: [x]}}");
        let product = product(&lines, KEY).unwrap();
        for notice in SEVERITIES.map(|it| notice(it, false)).into_iter().chain([long()]) {
            let seen = told(&product, &fake, &notice).await;
            assert_eq!(seen.path, "/jsm/ops/integration/v2/alerts");
            assert_eq!(seen.header("authorization"), format!("GenieKey {KEY}"));
            check(include_str!("schemas/opsgenie.json"), &seen.json());
        }
        let raised = told(&product, &fake, &notice(Severity::Critical, false)).await.json();
        assert_eq!(raised["priority"], "P1");
        assert_eq!(raised["alias"], "agentguard/host-1/hoerqjw6wv/session.kill");
        let over = told(&product, &fake, &notice(Severity::High, true)).await;
        let path = "/jsm/ops/integration/v2/alerts/agentguard%2Fhost-1%2Fhoerqjw6wv%2Fsession.kill/close?identifierType=alias";
        assert_eq!(over.path, path);
        check(include_str!("schemas/opsgenie-close.json"), &over.json());
    }
}

#[test]
fn opsgenie_and_jira_have_their_own_addresses() {
    let address = |word: &str| {
        let product = product(&format!("{word}: {{api_key: SECRET}}"), KEY).unwrap();
        format!("{:?}", product.request(&notice(Severity::High, false), None).unwrap())
    };
    assert!(address("opsgenie").contains("api.opsgenie.com"));
    assert!(address("jira_service_management").contains("api.atlassian.com"));
}

#[tokio::test]
async fn slack_gets_what_its_reference_says_and_nothing_that_calls_people() {
    let fake = Fake::start([]).await;
    let product = product("slack: {url: SECRET, channel: '#sec'}", &fake.url("/services/T/B/x"));
    let product = product.unwrap();
    let mut evil = notice(Severity::High, false);
    evil.alert.summary = "<!channel> <https://evil.example|click> & so on".to_owned();
    let all = SEVERITIES.map(|it| notice(it, false)).into_iter();
    for notice in all.chain([long(), evil.clone(), notice(Severity::High, true)]) {
        let seen = told(&product, &fake, &notice).await;
        assert_eq!(seen.path, "/services/T/B/x");
        check(include_str!("schemas/slack.json"), &seen.json());
    }
    let text = told(&product, &fake, &evil).await.json()["text"].as_str().unwrap().to_owned();
    assert_eq!(text, "[high] &lt;!channel&gt; &lt;https://evil.example|click&gt; &amp; so on");
}

#[tokio::test]
async fn any_other_receiver_gets_what_the_template_makes() {
    let fake = Fake::start([]).await;
    let template = r#""{\"text\": {{ (severity ~ ': ' ~ summary) | tojson }}{% if status == 'resolved' %}, \"done\": true{% endif %}}""#;
    let lines = format!(
        "http: {{url: '{}', method: PUT, headers: {{x-key: SECRET, x-team: sec}}, template: {template}, login: {{basic: {{user: me, password: SECRET}}}}}}",
        fake.url("/in")
    );
    let product = product(&lines, KEY).unwrap();
    let seen = told(&product, &fake, &notice(Severity::High, true)).await;
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PUT", "/in"));
    assert_eq!((seen.header("x-key"), seen.header("x-team")), (KEY, "sec"));
    assert!(seen.header("authorization").starts_with("Basic "));
    let json = seen.json();
    assert_eq!(json["text"], format!("high: {}", notice(Severity::High, true).alert.summary));
    assert_eq!(json["done"], true);
}

#[tokio::test]
async fn without_a_template_it_gets_the_facts() {
    let fake = Fake::start([]).await;
    let product = product(&format!("http: {{url: '{}'}}", fake.url("/in")), KEY).unwrap();
    let json = told(&product, &fake, &notice(Severity::High, false)).await.json();
    assert_eq!(json["status"], "firing");
    assert_eq!(json["session"], "hoerqjw6wv");
    assert_eq!(json["count"], 3);
}

#[test]
fn a_template_that_will_not_do_is_refused_at_the_start() {
    let error = |template: &str, more: &str| {
        let lines = format!("http: {{url: 'http://localhost', template: {template}{more}}}");
        match product(&lines, KEY) {
            Ok(_) => panic!("{template} was taken"),
            Err(error) => error,
        }
    };
    assert!(error("'{{ sumary }}'", "").contains("undefined"));
    assert!(error("'{{ summary '", "").contains("template"));
    assert!(error(r#"'{"text": "{{ summary }}"}'"#, "").contains("tojson"));
    assert!(
        error(
            "'{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}'",
            ""
        )
        .contains("fuel")
    );
    let fine =
        "http: {url: 'http://localhost', template: '{{ summary }}', content_type: text/plain}";
    assert!(product(fine, KEY).is_ok());
}

#[test]
fn a_secret_that_is_gone_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, KEY).unwrap();
    let config = crate::config::PagerdutyConfig {
        routing_key: crate::config::SecretRef::File(file.clone()),
        url: None,
    };
    let product = Product::new(&AlertProduct::Pagerduty(config)).unwrap();
    std::fs::remove_file(&file).unwrap();
    let error = product.request(&notice(Severity::High, false), None).unwrap_err();
    assert!(matches!(error.answer(), Answer::Later { .. }));
    std::fs::write(&file, "fedcba9876543210fedcba9876543210").unwrap();
    assert!(product.request(&notice(Severity::High, false), None).is_ok(), "another key is taken");
}
