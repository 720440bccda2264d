//! Ordinary text that must pass as it is.

use super::redactor;

const TEXTS: &[&str] = &[
    // git
    "git clone git@github.com:owner/repository.git",
    "git clone https://github.com/owner/repository.git",
    "git clone ssh://git@github.com/owner/repository.git",
    "git checkout 9fceb02d0ae598e95dc970b74767f19372d61af8",
    "git show b6fc8e7 -- agentguard/src/sink/log.rs",
    "git rev-parse 6ae3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8",
    "git -c core.hooksPath=/dev/null -c protocol.file.allow=never fetch --no-tags origin +refs/heads/main",
    "git config credential.helper store",
    "index 83db48f84ec878fbfb30b46d16630e944e34f205..bf269f4b0e7f1c2d3a4b5c6d7e8f90a1b2c3d4e5 100644",
    // npm and node
    "npm install lodash@4.17.21 @types/node@20.11.5",
    "npm ci --ignore-scripts --no-audit --prefer-offline",
    "integrity sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
    "node --max-old-space-size=4096 ./node_modules/.bin/webpack --config webpack.config.js",
    "node_modules/.pnpm/@babel+plugin-transform-modules-commonjs@7.23.3_@babel+core@7.23.7/node_modules",
    "vite build --mode production icon@2x.png assets/index-BkxNv3Yq.js",
    "yarn.lock:\"@esbuild/linux-x64@npm:0.19.11\"",
    // cargo and rustc
    "rustc --crate-name serde_derive_internals --edition=2024 lib.rs -C metadata=1a2b3c4d5e6f7a8b -C extra-filename=-1a2b3c4d5e6f7a8b",
    "--extern agentguard_common=/srv/build/target/release/deps/libagentguard_common-1a2b3c4d5e6f7a8b.rmeta",
    "/root/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/serde-1.0.229/src/lib.rs",
    "target/release/build/ring-0f3a9c8b7d6e5f4a/out/libring_core_0_17_14__test.a",
    "_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE",
    "checksum = \"4689e6c2294d81e88dc6261c768b63bc4fcdb852be6d1352498b114f61383b7a\"",
    // pip and python
    "pip install requests==2.31.0 --hash=sha256:942c5a758f98d790eaed1a29cb6eefc7ffb0d1cf7af05c3d2791656dbd6ad1e1",
    "https://files.pythonhosted.org/packages/70/8e/0e2d847013cb52cd35b38c009bb167a1a26b2ce6cd6965bf26b47bc0bf44/requests-2.31.0-py3-none-any.whl",
    "python3 -m venv /tmp/tmp7x_k2p9q/venv",
    "python3 -c \"import sys; print(sys.version_info)\"",
    // gcc, ld, make, cmake
    "gcc -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2 -DHAVE_CONFIG_H -I/usr/include/x86_64-linux-gnu -c main.c",
    "/usr/lib/gcc/x86_64-linux-gnu/12/collect2 -plugin-opt=-fresolution=/tmp/ccQ3dF2x.res --build-id --eh-frame-hdr",
    "cmake -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_EXPORT_COMPILE_COMMANDS=ON -GNinja",
    "-L/nix/store/q7hs9zkp2mvxl4tr8wyb3ncj6df1ga5x-glibc-2.38/lib",
    "make -j8 CFLAGS=-march=x86-64-v3 LDFLAGS=-Wl,-z,relro,-z,now",
    "build-id=5f4dcc3b5aa765d61d8327deb882cf99a1b2c3d4",
    // containers, ids, times
    "docker run -u 1000:1000 -v /srv:/srv --rm node:20-bookworm npm test",
    "docker exec 3f4e5d6c7b8a9f0e1d2c3b4a5f6e7d8c9b0a1f2e3d4c5b6a7f8e9d0c1b2a3f4e sh",
    "docker pull debian@sha256:942c5a758f98d790eaed1a29cb6eefc7ffb0d1cf7af05c3d2791656dbd6ad1e1",
    "kubectl get pod web-7d4b9c6f5d-x2k8p -n kube-system",
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "550e8400-e29b-41d4-a716-446655440000",
    "1732571234567890123 1732571234567890 1732571234567",
    "systemctl restart getty@tty1.service user@1000.service",
    "10.0.0.1:443 fd77::2 127.0.0.1",
    "04:42:1a:cc:fe:01",
    // words that look like the names of secrets
    "cd $PWD; PWD=/home/user/project OLDPWD=/home/user make",
    "llm --max-tokens 4096 --max_tokens=4096",
    "cat /run/secrets/db_password_file /etc/passwd",
    "TOKEN=$TOKEN PASSWORD=\"$PASSWORD\" SECRET=${SECRET} ./run.sh",
    "error: expected one of `;` or `}`, found token: `)`",
    "the password: it is asked for later",
    "a bearer of news; bearer authentication",
    "ssh-keygen -lf key.pub SHA256:uNiVztksCsDhcc0u9e8BrrJXVGDC0Ks3AVrxFEbp4JM",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3x9kq2Zv7Lm4Tn8Rw1Vb5Yc6Hd0Fg3Ja9Pe2Qs7Ut",
    "sort --key=2 --field-separator=: /etc/passwd",
    "grep -rn password src/",
    "SomeVeryLongCamelCaseIdentifierForAFactoryBean2",
    "CONFIG_DEBUG_INFO_BTF_MODULES=y CONFIG_HAVE_ARCH_SECCOMP_FILTER",
    "com.example.project.internal.ApplicationConfigurationV2Test",
    "mysql -u root -p db",
    "4111 1111 1111 1112",
    "DE89 3704 0044 0532 0130 01",
    "killed by user 0",
    "kernel programs were already enforcing; 1 agents declared, 0 sessions taken over",
    "grüße, 你好, naïve café ✓",
];

#[test]
fn ordinary_text_passes() {
    let redactor = redactor();
    for text in TEXTS {
        assert_eq!(redactor.text(text), *text);
    }
}

#[test]
fn ordinary_arguments_pass() {
    let redactor = redactor();
    for words in [
        &["docker", "run", "-p", "8080:80", "-u", "node:node", "image"][..],
        &["tool", "--password", "--verbose"],
        &["tool", "--password-file", "/etc/secret"],
        &["mysql", "-p", "db"],
        &["curl", "-u", "jane", "https://example.com"],
        &["ssh", "-p", "2222", "host"],
        &["tool", "--token"],
        &["llm", "--max-tokens", "4096"],
    ] {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(redactor.arguments(&words), None, "{words:?}");
    }
}

#[test]
fn names_of_the_network_keep_what_looks_random() {
    let name = "q7hs9zkp2mvxl4tr8wyb3ncj6df1ga5x.evil.example";
    assert_eq!(redactor().name(name), name);
}
