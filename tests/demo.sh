#!/usr/bin/env bash
# The story of one session, told on a terminal: `cargo xtask demo` runs it as root in
# a throw-away VM. Every step is checked; the first that does not come out as told
# ends the demo with exit code 1.
#
# Needs only what every Debian has (bash, perl-base, util-linux) and iproute2.
set -u

POLICIES=/etc/agentguard/policies
LOG=/var/log/agentguard/events.jsonl
WORK=$(mktemp -d)
PATIENCE=60
STEP=0
PASSED=0
DAEMON=
SERVER=

say() { printf '%s\n' "$*"; }
shown() { printf '      %s\n' "${1//$'\n'/$'\n'      }"; }
step() { STEP=$((STEP + 1)); printf '\n%d. %s\n\n' "$STEP" "$*"; }

# ok TEXT CONDITION…: the condition is a command that must succeed.
ok() {
    local text=$1
    shift
    if "$@"; then
        PASSED=$((PASSED + 1))
        say "   ok  $text"
    else
        fail "$text"
    fi
}

fail() {
    say "   NOT SO: $1"
    say
    if [ -s "$WORK/daemon" ]; then
        say "The daemon said:"
        shown "$(<"$WORK/daemon")"
    fi
    say "The demo failed in step $STEP."
    exit 1
}

# run COMMAND…: shows a command and what it prints; leaves that in OUT and CODE.
run() {
    say "   # $*"
    OUT=$("$@" 2>&1)
    CODE=$?
    [ -z "$OUT" ] || shown "$OUT"
}

# soon CONDITION…: true as soon as the condition is, false when it is not within the
# patience, which is for machines that do other things besides.
soon() {
    local until=$((SECONDS + PATIENCE))
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || return 1
        nap
    done
    return 0
}

# A pause without starting a program, of which the VM does only a few a second.
exec {NEVER}<> <(:)
nap() { read -r -t 0.02 -u "$NEVER"; }

# count FILE TEXT: leaves in COUNT how often the text is in the file.
count() {
    local all
    all=$(<"$1") 2>/dev/null
    local without=${all//"$2"/}
    COUNT=$(((${#all} - ${#without}) / ${#2}))
}

mentions() { count "$1" "$2" && [ "$COUNT" -gt 0 ]; }
has() { [[ "$OUT" == *"$1"* ]]; }
# 79: agentguard ended the session.
ended() { [ "$1" -eq 79 ]; }
gone() { ! [ -e "$1" ]; }

finish() {
    [ -z "$DAEMON" ] || kill "$DAEMON" 2>/dev/null
    [ -z "$SERVER" ] || kill "$SERVER" 2>/dev/null
}
trap finish EXIT

# --- the parts of the stage ---------------------------------------------------

# Two servers in a network namespace. Each request leaves a line in $WORK/hits, so
# that it shows whether a packet arrived, not only what the caller was told.
servers() {
    ip netns add outside &&
        ip link add guard0 type veth peer name guard1 netns outside &&
        ip address add 10.77.0.1/24 dev guard0 &&
        ip -6 address add fd77::1/64 dev guard0 nodad &&
        ip link set guard0 up &&
        ip -n outside address add 10.77.0.2/24 dev guard1 &&
        ip -n outside address add 10.77.0.3/24 dev guard1 &&
        ip -n outside -6 address add fd77::2/64 dev guard1 nodad &&
        ip -n outside -6 address add fd77::3/64 dev guard1 nodad &&
        ip -n outside link set lo up &&
        ip -n outside link set guard1 up || return
    : >"$WORK/hits"
    ip netns exec outside perl -e "$SERVE" "$WORK/hits" 2>"$WORK/server" &
    SERVER=$!
    soon mentions "$WORK/hits" ready
}

# shellcheck disable=SC2016  # the variables are perl's
SERVE='
    use strict; use Socket qw(:all); use IO::Handle;
    open my $hits, ">>", $ARGV[0] or die; $hits->autoflush(1);
    sub any { my ($type, $port) = @_;
        socket(my $socket, AF_INET6, $type, 0) or die "socket: $!";
        setsockopt($socket, IPPROTO_IPV6, IPV6_V6ONLY, 0);
        bind($socket, pack_sockaddr_in6($port, IN6ADDR_ANY)) or die "bind: $!";
        return $socket }
    my ($tcp, $udp) = (any(SOCK_STREAM, 443), any(SOCK_DGRAM, 9999));
    listen($tcp, 16) or die "listen: $!";
    print $hits "ready\n";
    while (1) {
        my $ready = ""; vec($ready, fileno $_, 1) = 1 for $tcp, $udp;
        select($ready, undef, undef, undef);
        if (vec($ready, fileno $udp, 1)) { recv($udp, my $text, 64, 0); print $hits "udp arrived\n" }
        if (vec($ready, fileno $tcp, 1)) {
            accept(my $peer, $tcp) or next;
            my (undef, $own) = unpack_sockaddr_in6(getsockname $peer);
            my $name = inet_ntop(AF_INET6, $own); $name =~ s/^::ffff://;
            print $hits "tcp arrived\n";
            my $text = "hello from $name\n"; my $length = length $text;
            $peer->autoflush(1);
            print $peer "HTTP/1.0 200 OK\r\nContent-Length: $length\r\n\r\n$text";
            shutdown $peer, 1; sysread $peer, my $request, 4096; close $peer;
        }
    }'

hits_are() { count "$WORK/hits" arrived && [ "$COUNT" -eq "$1" ]; }

daemon() {
    say "   # agentguard daemon &"
    : >"$WORK/daemon"
    agentguard daemon 2>"$WORK/daemon" &
    DAEMON=$!
    soon mentions "$WORK/daemon" ready
}

# The agent's shell: one `agentguard run`, fed with command lines.
start_agent() {
    say "   # agentguard run --agent coder -- bash"
    coproc AGENT { agentguard run --agent coder -- bash 2>&1 || echo "@ $?"; } 2>/dev/null
    exec {AGENT_IN}>&"${AGENT[1]}" {AGENT_OUT}<&"${AGENT[0]}"
    printf 'echo "$AGENTGUARD_SESSION"\n' >&"$AGENT_IN"
    read -r -t "$PATIENCE" SESSION <&"$AGENT_OUT"
}

# agent LINE: lets the agent's shell run a line; leaves its output in OUT.
agent() {
    say "   coder\$ $1"
    printf '%s\necho "@ $?"\n' "$1" >&"$AGENT_IN"
    answer
}

# What the agent's shell, or `agentguard run` at its end, prints up to an exit code.
answer() {
    local line
    OUT='' CODE=''
    while read -r -t "$PATIENCE" line <&"$AGENT_OUT"; do
        case $line in
        "@ "*)
            CODE=${line#@ }
            break
            ;;
        *) OUT+=$line$'\n' ;;
        esac
    done
    OUT=${OUT%$'\n'}
    [ -z "$OUT" ] || shown "$OUT"
    [ -n "$CODE" ] || fail "the agent's shell answers"
}

DENIED='"outcome":"denied"'
denials_are() { count "$LOG" "$DENIED" && [ "$COUNT" -eq "$1" ]; }

# refused LINE: the agent is told EPERM, no packet arrives, and one line is logged.
refused() {
    local hits denials
    count "$WORK/hits" arrived && hits=$COUNT
    count "$LOG" "$DENIED" && denials=$COUNT
    agent "$1"
    ok "refused by the kernel (EPERM)" has "Operation not permitted"
    hits_are "$hits" || fail "nothing arrived at the server"
    [ -n "$DAEMON" ] || return
    soon denials_are $((denials + 1)) || fail "one line in the log"
}

# --- the story ----------------------------------------------------------------

if [ -z "${AGENTGUARD_VM:-}" ] || [ "$(id -u)" -ne 0 ]; then
    say "This changes the network of the machine it runs on: run it by 'cargo xtask demo'."
    exit 2
fi
for program in agentguard ip perl setsid; do
    command -v "$program" >/dev/null || { say "demo: $program is missing"; exit 1; }
done

say "agentguard demo, in a VM with Linux $(uname -r)"

step "Two servers, and a policy that names one of them"
servers || fail "a network with two servers: $(cat "$WORK/server" 2>/dev/null)"
say "   10.77.0.2 (fd77::2) is the gateway to the agent's model."
say "   10.77.0.3 (fd77::3) is somebody else's. Without agentguard, both answer:"
say
run bash -c 'cat </dev/tcp/10.77.0.2/443 | tail -1; cat </dev/tcp/10.77.0.3/443 | tail -1'
ok "both can be reached" has "hello from 10.77.0.3"
say
mkdir -p "$POLICIES"
cat >"$POLICIES/coder.yaml" <<'YAML'
version: 1
agent: coder
description: Writes code. Needs its model and nothing else.
egress:
  default: deny
  rules:
    - allow: [10.77.0.2, "fd77::2"]
      ports: [443]
      id: model-gateway
YAML
run cat "$POLICIES/coder.yaml"

step "The daemon puts the policy into the kernel; a shell starts as the agent"
daemon || fail "the daemon is ready"
start_agent || fail "the agent's shell starts"
ok "session $SESSION has begun" [ -n "$SESSION" ]

step "What the policy allows goes through"
if command -v curl >/dev/null; then
    agent 'curl -sS -m 60 http://10.77.0.2:443/'
else
    agent 'cat </dev/tcp/10.77.0.2/443 | tail -1'
fi
ok "the agent reached its gateway" has "hello from 10.77.0.2"

step "Everything else does not, whichever way it is tried"
refused ': </dev/tcp/10.77.0.3/443'
say
say "   by IPv6, and by IPv4 dressed as IPv6:"
refused ': </dev/tcp/fd77::3/443'
refused ': </dev/tcp/::ffff:10.77.0.3/443'
say
say "   by UDP, with no connection at all:"
# shellcheck disable=SC2016  # the variables are perl's
refused 'perl -MSocket -e '\''socket S,2,2,0; send(S,"x",0,pack_sockaddr_in(9999,inet_aton("10.77.0.3"))) or die "send: $!\n"'\'
say
say "   from a child's child that left the session's process group:"
# shellcheck disable=SC2016  # the variables are the agent's
refused '(setsid bash -c '\'': </dev/tcp/10.77.0.3/443'\'' &) 2>&1 | cat'

step "Each refusal is one line of JSON, and people have their own view"
say "   # tail -1 $LOG"
OUT=$(tail -1 "$LOG")
shown "$OUT"
ok "it names the agent and the destination" \
    has '"agent_role":"coder","action":"connect","resource":"tcp://10.77.0.3:443","outcome":"denied"'
ok "and the session" has "\"session\":\"$SESSION\""
say
run agentguard events
ok "five refusals, five lines" denials_are 5

step "The daemon dies; the kernel goes on deciding"
say "   # kill -9 $DAEMON"
kill -9 "$DAEMON"
wait "$DAEMON" 2>/dev/null
DAEMON=
run agentguard ps
ok "no daemon is there" [ "$CODE" -eq 69 ]
say
count "$LOG" "$DENIED" && BEFORE=$COUNT
refused ': </dev/tcp/10.77.0.3/443'
agent 'cat </dev/tcp/10.77.0.2/443 | tail -1'
ok "and what is allowed still is" has "hello from 10.77.0.2"

step "A new daemon takes the session over"
daemon || fail "the daemon is ready"
run agentguard ps
ok "the session is still there" has "$SESSION"
ok "the refusal of the time without a daemon is in the log" soon denials_are $((BEFORE + 1))
refused ': </dev/tcp/10.77.0.3/443'

step "The session is ended, with everything that came of it"
agent 'setsid sleep 1000 & echo $!'
SLEEPER=$OUT
[ -d "/proc/$SLEEPER" ] || fail "the agent left a process in the background"
run agentguard kill "$SESSION"
ok "ended" [ "$CODE" -eq 0 ]
ok "the process in the background is gone" soon gone "/proc/$SLEEPER"
say "   and in the agent's terminal:"
answer
ok "'agentguard run' has ended with its session (exit code $CODE)" ended "$CODE"

say
say "What you saw: one agent, one policy of nine lines. The kernel let through what the"
say "policy names and refused the rest: IPv4, IPv6, mapped addresses, UDP, detached"
say "children; with the daemon, without it, and with the next one. $PASSED checks held."
