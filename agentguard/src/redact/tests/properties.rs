//! What holds of any text.

use proptest::prelude::*;

use super::redactor;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// No text breaks it, and what it made it leaves alone.
    #[test]
    fn twice_is_once(text in "\\PC{0,200}") {
        let redactor = redactor();
        let once = redactor.text(&text).into_owned();
        prop_assert_eq!(redactor.text(&once), once.as_str());
    }

    /// A token is found whatever words stand around it.
    #[test]
    fn a_token_is_found_among_words(before in "[a-z ]{0,40}", secret in "[A-Za-z0-9]{36}", after in "( [a-z]{1,9}){0,4}") {
        let token = format!("ghp_{secret}");
        let out = redactor().text(&format!("{before} {token}{after}")).into_owned();
        prop_assert!(!out.contains(&secret), "{}", out);
        prop_assert!(out.ends_with(&after));
    }

    /// A password is found whatever it is made of.
    #[test]
    fn a_password_is_found_whatever_it_is(secret in "[!-~]{8,40}") {
        prop_assume!(!secret.starts_with('-') && secret.bytes().any(|byte| byte.is_ascii_digit()));
        let words = ["tool", "--password", &secret].map(str::to_owned);
        let out = redactor().arguments(&words);
        prop_assert!(out.is_some_and(|out| !out.join(" ").contains(&secret)));
    }

    /// Words of small letters are never taken for random text.
    #[test]
    fn words_pass(words in prop::collection::vec("[a-z]{2,12}", 1..8), mark in "[-_/. ]") {
        let text = words.join(&mark);
        prop_assert_eq!(super::super::random::find(&text).count(), 0);
    }

    /// Neither are digests.
    #[test]
    fn digests_pass(digest in "[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{32}|[0-9a-f]{12}") {
        prop_assert_eq!(super::super::random::find(&digest).count(), 0);
    }
}

/// Of keys in base 62 nearly all are found; the figures are those that are promised.
#[test]
fn most_random_strings_are_found() {
    for (len, promised) in [(24, 950), (32, 970), (43, 985), (64, 995)] {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let found = (0..1000)
            .filter(|_| {
                let letter = |_| char::from(letters[usize::try_from(next() % 62).unwrap()]);
                let key: String = (0..len).map(letter).collect();
                super::super::random::find(&key).count() == 1
            })
            .count();
        assert!(found >= promised, "{found} of 1000 with {len} letters");
    }
}

/// Prints what redaction costs, in time of the CPU; for `docs/performance.md`, in a
/// release build: `cargo test --release -p agentguard --lib redaction_cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn redaction_cost() {
    use nix::time::{ClockId, clock_gettime};
    use std::hint::black_box;
    let cpu =
        || std::time::Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
    let best = |run: &dyn Fn()| {
        let rounds = 5_000;
        let each = (0..9).map(|_| {
            let start = cpu();
            (0..rounds).for_each(|_| run());
            (cpu() - start).as_nanos() / rounds
        });
        each.min().unwrap()
    };
    let redactor = redactor();
    let command = "gcc -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2 -DHAVE_CONFIG_H \
        -I/usr/include/x86_64-linux-gnu -c main.c -o main.o";
    let repeated = |word: &str| word.repeat(1020 / word.len());
    for text in [
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        command,
        "curl -H 'Authorization: Bearer abcdef0123456789' https://example.com/v1/items",
        &repeated("word1 "),
        &repeated("a@a."),
        &repeated("curl -u "),
        &repeated("token "),
    ] {
        let cost = best(&|| drop(black_box(redactor.text(black_box(text)))));
        println!("{cost:>8} ns, {:>4} bytes: {}", text.len(), text.get(..40).unwrap_or(text));
    }
    let args: Vec<_> = command.split(' ').map(str::to_owned).collect();
    let cost = best(&|| drop(black_box(redactor.arguments(black_box(&args)))));
    println!("{cost:>8} ns, {} arguments of the compiler", args.len());
}
