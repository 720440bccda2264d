//! Secrets that must not pass.

use super::redactor;

/// Texts, the secret in each between `«` and `»`, and what stands in its place.
const TEXTS: &[(&str, &str)] = &[
    ("aws s3 ls --key «AKIA|Z7QXMB2LT4RNWK5P»", "aws-key"),
    ("AWS_SECRET_ACCESS_KEY=«wJalr|XUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY» aws s3 ls", "password"),
    (
        "aws configure set aws_secret_access_key «wJalr|XUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»",
        "password",
    ),
    (
        "git clone https://x-access-token:«ghs_|16C7e42F292c6912E7710c838347Ae178B4a»@github.com/o/r",
        "github-token",
    ),
    ("gh auth login «ghp_|abcdefghij0123456789ABCDEFGHIJ012345»", "github-token"),
    ("«github_pat_|11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwXyZ0123456789»", "github-token"),
    ("PRIVATE-TOKEN «glpat|-Zx9KqLm3Tn7Rw2Vb5Yc8»", "gitlab-token"),
    ("«xoxb|-2345678901-abcdefGHIJKL»", "slack-token"),
    (
        "curl https://hooks.slack.com/services/«T0AB|CDEFG/B0HIJKLMN/abcdEFGHijklMNOPqrst»",
        "slack-token",
    ),
    ("?q=1 «AIza|SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY»", "google-key"),
    ("«ya29|.a0AfH6SMBx7Yz_QwErTy-123»", "google-token"),
    ("export X=«sk-ant|-api03-abcdefghijklmnop_QRSTUVWX-yz0123456789»", "ai-key"),
    ("llm «sk-proj|-abcDEF123456ghiJKL7890mnoPQR»", "ai-key"),
    ("llm «sk-|abcdefghijklmnopqrstT3BlbkFJ0123456789ab»", "ai-key"),
    ("«hf_|abcdefghijklmnopqrstuvwxyzABCDEFGH»", "huggingface-token"),
    ("//registry.npmjs.org/:_authToken=«00000000|-1111-2222-3333-444444444444»", "npm-token"),
    ("«npm_|abcdefghijklmnopqrstuvwxyz0123456789»", "npm-token"),
    (
        "twine upload «pypi-|AgEIcHlwaS5vcmcCJDAwMDAwMDAwLTAwMDAtMDAwMC0wMDAwLTAwMDAwMDAwMDAwMA»",
        "pypi-token",
    ),
    ("«sk_live|_4eC39HqLyjWDarjtT1zdp7dc»", "stripe-key"),
    ("«rk_test|_4eC39HqLyjWDarjtT1zdp7dc»", "stripe-key"),
    ("«hvs.|CAESIJ1234567890abcdefGHIJ»", "vault-token"),
    (
        "x «eyJhbGci|OiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U»",
        "jwt",
    ),
    ("psql postgres://app:«s3cr|et»@db.internal/app", "url-password"),
    ("redis://:«hunt|er2»@127.0.0.1:6379", "url-password"),
    (
        "git clone https://«0123456789|abcdef0123456789abcdef01234567»@git.example.com/r.git",
        "url-password",
    ),
    ("https://s3.example.com/x?X-Amz-Signature=«abcd|ef0123»&a=b", "url-password"),
    ("https://api.example.com/v1?api_key=«d41d|8cd98f00b204e9800998ecf8427e»", "url-password"),
    ("https://api.example.com/v1?a=b&token=«abcd|efgh»", "url-password"),
    ("Authorization: Bearer «abc.|def-123»", "authorization"),
    ("Authorization: Basic «dXNlcjpw|YXNz»", "authorization"),
    ("{\"Authorization\": \"token «abcd|ef12»\"}", "authorization"),
    ("-H 'Proxy-Authorization: «anything| at all»'", "authorization"),
    ("bearer «abcdefgh|1»", "authorization"),
    ("Cookie: «session|=abc; other=def»", "cookie"),
    ("X-Api-Key: «Abcdef|gh»", "password"),
    ("PASSWORD=«hunt|er2»", "password"),
    ("MYSQL_ROOT_PASSWORD=«hunt|er2» mysqld", "password"),
    ("mytool --db-password=«hunt|er2» --verbose", "password"),
    ("bash -c 'export TOKEN=«hunt|er2»'", "password"),
    ("bash -c 'mytool --api-token «hunt|er2» --verbose'", "password"),
    ("export SECRET=\"«two| words»\"", "password"),
    ("export SECRET='«two| words»'", "password"),
    ("{\"user\":\"x\",\"password\":\"«hunt|er2»\"}", "password"),
    ("{\\\"password\\\": \\\"«hunt|er2»\\\"}", "password"),
    ("api_key = \"«hunt|er2»\"", "password"),
    ("AccountKey=«abcd|EFGH==»;EndpointSuffix=core.windows.net", "password"),
    ("curl -s -u jane:«hunt|er2» https://example.com", "password"),
    ("mysql -u root -p«hunt|er2» db", "password"),
    ("sshpass -p «hunt|er2» ssh host", "password"),
    ("docker login -u jane -p «hunt|er2» registry.example.com", "password"),
    ("openssl rsa -in k.pem -passin pass:«hunt|er2»", "password"),
    (
        "«-----BEGIN OPENSSH |PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE\n-----END OPENSSH PRIVATE KEY-----»",
        "private-key",
    ),
    ("echo «-----BEGIN RSA |PRIVATE KEY-----\nMIIEowIBAAKCAQEA cut short", ""),
    ("x «q7Hs9|ZkP2mVxL4tR8wYb3NcJ6dF1gA5»", "random"),
    ("x «x7k2p|9q4m1z8v3b6n5c0j7h2g4f9d1s»", "random"),
    ("x «JBSWY|3DPEHPK3PXP7G2Q4M6N5T2ZRW3A»", "random"),
    ("x «3q2-7w|_Aq9ZkP2mVx-L4tR8wYb3NcJ6dF1»", "random"),
    ("https://example.com/share/«q7Hs9|ZkP2mVxL4tR8wYb3NcJ6»", "random"),
    ("mail «jane.roe+x|@example.co.uk» now", "email"),
    ("pay «4242 4242| 4242 4242» now", "card"),
    ("pay «3782822|46310005»", "card"),
    ("pay «5555-5555|-5555-4444»", "card"),
    ("to «DE89 3704| 0044 0532 0130 00»", "iban"),
    ("to «GB82WEST|12345698765432»", "iban"),
];

#[test]
fn secrets_do_not_pass() {
    let redactor = redactor();
    for (text, kind) in TEXTS {
        let text = text.replace('|', "");
        let Some((before, rest)) = text.split_once('«') else { continue };
        let (secret, after) = rest.split_once('»').unwrap_or((rest, ""));
        let kind = if kind.is_empty() { "private-key" } else { kind };
        let expected = format!("{before}[redacted:{kind}]{after}");
        assert_eq!(redactor.text(&format!("{before}{secret}{after}")), expected);
    }
}

#[test]
fn secrets_among_arguments_do_not_pass() {
    let redactor = redactor();
    for (words, expected) in [
        (
            &["/usr/bin/tool", "--password", "hunter2"][..],
            &["/usr/bin/tool", "--password", "*"][..],
        ),
        (&["tool", "--registry-token", "two words"], &["tool", "--registry-token", "*"]),
        (&["tool", "-passwd", "/slash"], &["tool", "-passwd", "*"]),
        (&["tool", "--PASSWORD", "-dash1-"], &["tool", "--PASSWORD", "-dash1-"]),
        (&["curl", "-u", "jane:hunter2", "x"], &["curl", "-u", "jane:*", "x"]),
        (&["curl", "-ujane:hunter2"], &["curl", "-ujane:*"]),
        (&["sshpass", "-phunter2", "ssh"], &["sshpass", "-p*", "ssh"]),
        (&["redis-cli", "-a", "hunter2"], &["redis-cli", "-a", "*"]),
        (&["mysql", "-phunter2"], &["mysql", "-p*"]),
        (
            &["docker", "login", "-u", "me", "-p", "hunter2"],
            &["docker", "login", "-u", "me", "-p", "*"],
        ),
        (&["smbclient", "-U", "me%hunter2"], &["smbclient", "-U", "me%*"]),
        (
            &["aws", "configure", "set", "aws_secret_access_key", "abc"],
            &["aws", "configure", "set", "aws_secret_access_key", "*"],
        ),
        (&["env", "API_TOKEN=hunter2", "x"], &["env", "API_TOKEN=*", "x"]),
        (&["env", "API_TOKEN=a&b;'c\"d", "x"], &["env", "API_TOKEN=*", "x"]),
        (&["tool", "--password=two words"], &["tool", "--password=*"]),
        (
            &["sudo", "-u", "me", "curl", "-u", "jane:hunter2"],
            &["sudo", "-u", "me", "curl", "-u", "jane:*"],
        ),
        (&["java", "-Dssl.trust.password=a;b"], &["java", "-Dssl.trust.password=*"]),
    ] {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let out = redactor.arguments(&words).unwrap_or(words);
        let expected: Vec<_> =
            expected.iter().map(|word| word.replace('*', "[redacted:password]")).collect();
        assert_eq!(out, expected);
    }
}
