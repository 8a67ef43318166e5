/** `doctor` through the program and over real sockets: verdict, exit status, text, JSON, and both ends of --self. */
import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { equalBytes } from "../../overlay/base/bytes.ts";
import { signingKey } from "../../overlay/crypto/primitives.ts";
import { fakeNode, HONEST, PASSPHRASE, rawServer } from "../kit/fake_node.ts";
import { runTool, startTool, temporaryFolder } from "../kit/tool.ts";

interface Document {
  schema: string;
  target: string;
  verdict: string;
  couldAlsoBe: string[];
  findings: { code: string; ok: boolean | null; evidence: string }[];
  next: string;
  nodeId: string | null;
  attempts: { identity: string; certificate: string; network: string; code: string | null }[];
}

const FAST = ["--timeout", "1s", "--listen", "1s", "--network", "local"];

async function doctor(target: string, ...flags: string[]): Promise<{ document: Document; status: number | null }> {
  const { status, out, err } = await runTool(["doctor", target, "--json", ...FAST, ...flags]);
  assert.equal(err, "");
  const document = JSON.parse(out) as Document;
  assert.equal(document.schema, "stellar-overlay/doctor/1");
  assert.equal(document.target, target);
  return { document, status };
}

/** A file of mode 600 with a secret, and its public key. */
function seedFile(): { path: string; publicKey: Uint8Array } {
  const seed = new Uint8Array(32).fill(7);
  const path = join(temporaryFolder(), "node.seed");
  writeFileSync(path, encodeSecretSeed(seed) + "\n");
  chmodSync(path, 0o600);
  return { path, publicKey: signingKey(seed).publicKey };
}

test("doctor: nothing listens: tcp_refused, status 1, and --private turns it into 0", async () => {
  const server = await rawServer(() => {});
  await server[Symbol.asyncDispose]();
  const { document, status } = await doctor(server.address);
  assert.deepEqual([document.verdict, status], ["tcp_refused", 1]);
  assert.ok(document.couldAlsoBe.includes("node_not_running"));
  const hidden = await doctor(server.address, "--private");
  assert.equal(hidden.status, 0);
});

test("doctor: another service, a mute one and one that hangs up each get their verdict", async () => {
  await using http = await rawServer((socket) =>
    socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"))
  );
  await using mute = await rawServer(() => {});
  await using shut = await rawServer((socket) => socket.destroy());
  const verdicts = await Promise.all([http, mute, shut].map(async ({ address }) => await doctor(address)));
  assert.deepEqual(verdicts.map(({ document, status }) => [document.verdict, status]), [
    ["not_stellar", 1],
    ["silent", 1],
    ["closes_before_hello", 1],
  ]);
});

test("doctor: a banned identity is proved by a fresh one; without the identity nothing is wrong", async () => {
  const { path, publicKey } = seedFile();
  await using server = await fakeNode({
    ...HONEST,
    onHello: (caller, hello) => equalBytes(hello.peerId, publicKey) ? caller.end() : HONEST.onHello(caller, hello),
  });
  const { document, status } = await doctor(server.address, "--seed-file", path);
  assert.deepEqual([document.verdict, status], ["banned_identity", 1]);
  assert.deepEqual(document.attempts.map(({ identity, code }) => [identity, code]).slice(0, 3), [
    ["given", "silent_close"],
    ["fresh", "local_close"],
    ["given", "silent_close"],
  ]);
  assert.equal(document.findings.find(({ code }) => code === "ban")?.ok, false);
  const other = await doctor(server.address);
  assert.deepEqual([other.document.verdict, other.status], ["reachable_not_relaying", 3]);
});

test("doctor: a node that takes our certificate for expired has another time", async () => {
  const limit = Date.now() / 1000 + 7200;
  await using server = await fakeNode({
    ...HONEST,
    onHello: (caller, hello) => Number(hello.cert.expiration) < limit ? caller.end() : HONEST.onHello(caller, hello),
  }, { certLifetimeSeconds: 7200 + 3600 });
  const { document, status } = await doctor(server.address);
  assert.deepEqual([document.verdict, status], ["clock_skew", 1]);
  assert.deepEqual(document.couldAlsoBe, ["clock_skew_ours", "clock_skew_theirs"]);
});

test("doctor: text for people has a mark per finding and one next step; remote text is escaped", async () => {
  await using server = await fakeNode({
    ...HONEST,
    onAuth: (caller) => {
      caller.sendAuth();
      caller.sendError("ERR_LOAD", "peer rejected\u001b[31m");
    },
  }, { versionStr: "evil\u001b[2J" });
  const { status, out } = await runTool(["doctor", server.address, ...FAST]);
  assert.equal(status, 3);
  assert.match(out, /^ {2}ok {4}hello/m);
  assert.match(out, /^ {2}FAIL {2}admission/m);
  assert.match(out, /^verdict +full$/m);
  assert.match(out, /^next +\S.*\.$/m);
  // deno-lint-ignore no-control-regex
  assert.doesNotMatch(out, /\u001b/);
});

test("doctor: --config without a target is the configuration's own node on this machine", async () => {
  const folder = temporaryFolder();
  await using server = await fakeNode(HONEST);
  const path = join(folder, "core.cfg");
  const lines = [`NETWORK_PASSPHRASE="${PASSPHRASE}"`, `PEER_PORT=${server.port}`, "NODE_IS_VALIDATOR=false"];
  writeFileSync(path, lines.join("\n") + "\n");
  const run = await runTool(["doctor", "--config", path, "--json", "--timeout", "1s", "--listen", "1s"]);
  const document = JSON.parse(run.out) as Document;
  assert.deepEqual([document.target, document.verdict], [`127.0.0.1:${server.port}`, "reachable_not_relaying"]);
  assert.equal(document.nodeId, server.local.nodeIdText);
});

test("doctor: wrong usage is status 2 and says what to write", async () => {
  for (const args of [[], ["--self", "1", "127.0.0.1:1"], ["127.0.0.1:1", "--callers", "2"], ["127.0.0.1:70000"]]) {
    const { status, err } = await runTool(["doctor", ...args]);
    assert.equal(status, 2, `${args}: ${err}`);
    assert.match(err, /hint: /);
  }
});

test("doctor: one doctor examines another that listens with --self; both say what they saw", async () => {
  const self = startTool(["doctor", "--self", "127.0.0.1:0", "--network", "local", "--listen", "1s", "--callers", "1"]);
  await self.saw("listening on");
  const target = /stellar-overlay doctor (\S+)/.exec(self.err())![1];
  const { document, status } = await doctor(target);
  assert.deepEqual([document.verdict, status], ["reachable_not_relaying", 3]);
  assert.equal(document.findings.find(({ code }) => code === "identity")?.ok, true);
  assert.equal(document.findings.find(({ code }) => code === "announced_port")?.ok, true);
  const { status: own, out } = await self.done;
  assert.equal(own, 0, out);
  assert.match(out, /own port +127\.0\.0\.1:\d+ answers with our node id/);
  assert.match(out, /our hello +accepted: it sent AUTH/);
  assert.match(out, /grant +200 messages, 300000 bytes/);
});

test("doctor: Ctrl-C ends it with what is known and status 130", async () => {
  let admitted = () => {};
  const admission = new Promise<void>((resolve) => admitted = resolve);
  await using server = await fakeNode({
    ...HONEST,
    onAuth: (caller) => {
      HONEST.onAuth(caller);
      admitted();
    },
  });
  const run = startTool(["doctor", server.address, "--network", "local", "--listen", "60s", "--json"]);
  await admission;
  run.signal("SIGINT");
  const { status, out } = await run.done;
  assert.equal(status, 130);
  assert.equal((JSON.parse(out) as Document).verdict, "interrupted");
});
