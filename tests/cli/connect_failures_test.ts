/** One test per way `connect` can fail, over real sockets and through the program: state, code, hint and exit status. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { connect as netConnect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { toHex } from "../../overlay/base/bytes.ts";
import { issueCert } from "../../overlay/auth/cert.ts";
import { encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { type Caller, fakeNode, type FakeServer, HONEST, rawServer, type Script } from "../kit/fake_node.ts";
import { runTool, startTool, temporaryFolder } from "../kit/tool.ts";

interface Row {
  state: string;
  code: string | null;
  hint: string | null;
  detail: string | null;
  remoteText: string | null;
  nodeId: string | null;
  peers: string[] | null;
  versionStr: string | null;
  overlayVersion: number | null;
  attempts: { network: string; code: string | null }[];
  stagesMs: Record<string, number>;
}

/** `connect --json` at one target. */
async function connect(target: string, ...flags: string[]): Promise<{ row: Row; status: number | null }> {
  const args = ["connect", target, "--json", "--network", "local", "--timeout", "1s", "--scp", "0", ...flags];
  const { status, out, err } = await runTool(args);
  assert.equal(err, "", "nothing but the document is printed");
  const document = JSON.parse(out);
  assert.equal(document.schema, "stellar-overlay/connect/1");
  assert.equal(document.results.length, 1);
  return { row: document.results[0], status };
}

/** Connects and checks the verdict. */
async function expect(
  target: string,
  expected: { state: string; code: string | null; hint: RegExp; status?: number },
  ...flags: string[]
): Promise<Row> {
  const { row, status } = await connect(target, ...flags);
  assert.deepEqual(
    { state: row.state, code: row.code },
    { state: expected.state, code: expected.code },
    JSON.stringify(row),
  );
  assert.match(row.hint ?? "", expected.hint);
  assert.equal(status, expected.status ?? 1);
  return row;
}

/** A test against a scripted node. */
function scripted(
  name: string,
  script: Script,
  check: (server: FakeServer & { local: { nodeIdText: string } }) => Promise<void>,
): void {
  test(`connect: ${name}`, async () => {
    await using server = await fakeNode(script);
    await check(server);
  });
}

// ---- before a byte was exchanged ----

test("connect: dns_failed for a name nobody has", async () => {
  const row = await expect("no-such-host.invalid", { state: "dead", code: "dns_failed", hint: /spelling/ });
  assert.deepEqual(row.stagesMs, {});
});

test("connect: connect_refused where nothing listens", async () => {
  const server = await rawServer(() => {});
  await server[Symbol.asyncDispose]();
  await expect(server.address, { state: "dead", code: "connect_refused", hint: /nothing listens there/ });
});

test("connect: connect_unreachable for an address no TCP connection can have", async () => {
  // The limited broadcast address: the system refuses it without sending anything.
  await expect("255.255.255.255:11625", { state: "dead", code: "connect_unreachable", hint: /no route/ });
});

test("connect: connect_timeout when nobody answers SYN", async () => {
  // A listener that accepts nothing because its process stands still: once its queue is full, the system drops new SYNs.
  const code =
    `const s=require("net").createServer();s.listen({port:0,host:"127.0.0.1",backlog:1},()=>console.log(s.address().port))`;
  const child = spawn("node", ["-e", code], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const port = await new Promise<number>((resolve) =>
      child.stdout.once("data", (data) => resolve(Number(String(data))))
    );
    child.kill("SIGSTOP");
    const fill = Array.from({ length: 4 }, () => netConnect({ port, host: "127.0.0.1" }).on("error", () => {}));
    await new Promise((resolve) => setTimeout(resolve, 300));
    await expect(`127.0.0.1:${port}`, { state: "dead", code: "connect_timeout", hint: /firewall/ });
    for (const socket of fill) socket.destroy();
  } finally {
    child.kill("SIGKILL");
  }
});

// ---- the remote ends it without a reason ----

test("connect: closed_before_hello when the caller is not even read", async () => {
  await using server = await rawServer((socket) => socket.destroy());
  await expect(server.address, { state: "silent", code: "closed_before_hello", hint: /no free slot/ });
});

test("connect: silent_close after our HELLO names the three causes, and tries the other networks", async () => {
  await using server = await rawServer((socket) => socket.once("data", () => socket.end()));
  const row = await expect(server.address, {
    state: "silent",
    code: "silent_close",
    hint: /another network.*certificate.*clocks.*banned/,
  });
  assert.deepEqual(row.attempts.map((attempt) => attempt.network), ["local", "pubnet", "testnet", "futurenet"]);
});

test("connect: silent_close keeps the first verdict when the other tries fail otherwise", async () => {
  let served = 0;
  await using server = await rawServer((socket) => {
    if (served++ > 0) socket.destroy();
    else socket.once("data", () => socket.end());
  });
  await expect(server.address, { state: "silent", code: "silent_close", hint: /banned/ });
});

test("connect: a node of another network is found on its own", async () => {
  await using server = await fakeNode(realNode(), { passphrase: "Test SDF Network ; September 2015" });
  const row = await expect(server.address, {
    state: "other-network",
    code: "network_mismatch",
    hint: /--network testnet/,
  });
  assert.equal(row.nodeId, server.local.nodeIdText);
  const auto = await connect(server.address, "--network", "auto");
  assert.deepEqual([auto.row.state, auto.status], ["reachable", 0]);
});

scripted("closed_after_hello when it leaves between HELLO and AUTH", {
  onHello(caller, hello) {
    HONEST.onHello(caller, hello);
    caller.end();
  },
}, async (server) => {
  const row = await expect(server.address, { state: "silent", code: "closed_after_hello", hint: /overloaded/ });
  assert.equal(row.nodeId, server.local.nodeIdText);
});

scripted(
  "handshake_timeout when it says HELLO and no more",
  { onHello: HONEST.onHello, onAuth() {} },
  async (server) => {
    await expect(server.address, { state: "silent", code: "handshake_timeout", hint: /overloaded/ });
  },
);

test("connect: no_answer from a service that accepts and says nothing", async () => {
  await using server = await rawServer(() => {});
  await expect(server.address, { state: "silent", code: "no_answer", hint: /nothing answers HELLO/ });
});

// ---- the remote says why ----

const refusals: [
  text: string,
  code: string,
  hint: RegExp,
  error?: "ERR_CONF" | "ERR_MISC" | "ERR_AUTH",
  failure?: string,
  state?: string,
][] = [
  ["wrong protocol version", "wrong_version", /--overlay-min/],
  ["wrong network passphrase", "wrong_passphrase", /--network/, "ERR_CONF", undefined, "other-network"],
  ["connecting to self", "connecting_to_self", /--seed-file/],
  ["already-connected peer: GABCD", "already_connected", /close it/],
  ["bad address", "bad_listening_port", /1 to 65535/],
  ["dropped by user", "dropped_by_remote", /operator/, "ERR_MISC"],
  ["unexpected MAC", "auth_refused", /alters or repeats/, "ERR_AUTH"],
];
for (const [text, code, hint, error = "ERR_CONF", , state = "refused"] of refusals) {
  scripted(`${code} from "${text}", identity kept`, {
    onHello(caller, hello) {
      HONEST.onHello(caller, hello);
      caller.sendError(error, text);
    },
  }, async (server) => {
    const row = await expect(server.address, { state, code, hint });
    assert.equal(row.remoteText, text);
    assert.equal(row.nodeId, server.local.nodeIdText);
    assert.equal(row.versionStr, "fake node 1.0");
  });
}

scripted(
  "flow_control_refused after AUTH",
  {
    onHello: HONEST.onHello,
    onAuth: (caller) => {
      caller.sendAuth();
      caller.sendError("ERR_CONF", "flow control bytes disabled");
    },
  },
  (server) =>
    expect(server.address, { state: "refused", code: "flow_control_refused", hint: /flag 200/ }).then(() => {}),
);

scripted("full is a state, not a failure: identity and PEERS are kept, exit status 0", {
  onHello: HONEST.onHello,
  onAuth(caller) {
    caller.sendAuth();
    caller.send({ type: "peers", peers: [{ ip: Uint8Array.of(192, 0, 2, 9), port: 11625, numFailures: 0 }] });
    caller.sendError("ERR_LOAD", "peer rejected");
  },
}, async (server) => {
  const row = await expect(server.address, { state: "full", code: null, hint: /no free slot/, status: 0 });
  assert.deepEqual(row.peers, ["192.0.2.9:11625"]);
  assert.equal(row.nodeId, server.local.nodeIdText);
});

scripted("wrong_version when the windows do not meet, with the peer's window", {
  onHello(caller, hello) {
    caller.agree(hello);
    caller.sendHello({ overlayVersion: 42, overlayMinVersion: 41 });
  },
}, async (server) => {
  const row = await expect(
    server.address,
    { state: "refused", code: "wrong_version", hint: /--overlay-/ },
    "--overlay-version",
    "40",
    "--overlay-min",
    "35",
  );
  assert.match(row.detail ?? "", /41-42/);
  assert.equal(row.overlayVersion, 42);
});

test("connect: connecting_to_self when both use one seed", async () => {
  const seed = new Uint8Array(32).fill(7);
  const file = join(temporaryFolder(), "seed");
  writeFileSync(file, encodeSecretSeed(seed) + "\n");
  chmodSync(file, 0o600);
  await using server = await fakeNode(HONEST, { seed });
  await expect(
    server.address,
    { state: "refused", code: "connecting_to_self", hint: /--seed-file/ },
    "--seed-file",
    file,
  );
});

test("connect: connecting_to_self from an echo", async () => {
  await using server = await rawServer((socket) => socket.pipe(socket));
  await expect(server.address, { state: "refused", code: "connecting_to_self", hint: /same seed/ });
});

// ---- it breaks the protocol ----

scripted("bad_mac in AUTH", {
  onHello: HONEST.onHello,
  onAuth: (caller) => caller.sendFrame({ type: "auth", auth: { flags: 200 } }, 0, new Uint8Array(32).fill(1)),
}, (server) => expect(server.address, { state: "faulty", code: "bad_mac", hint: /alters frames/ }).then(() => {}));

scripted(
  "bad_sequence in AUTH",
  {
    onHello: HONEST.onHello,
    onAuth: (caller) => caller.sendFrame({ type: "auth", auth: { flags: 200 } }, 5, caller.sendKey),
  },
  (server) =>
    expect(server.address, { state: "faulty", code: "bad_sequence", hint: /drops or repeats/ }).then(() => {}),
);

scripted(
  "frame_oversized after HELLO",
  {
    onHello(caller, hello) {
      HONEST.onHello(caller, hello);
      caller.sendRaw(Uint8Array.of(0x80, 0, 0x10, 4));
    },
  },
  (server) =>
    expect(server.address, { state: "faulty", code: "frame_oversized", hint: /not Stellar, broken/ }).then(() => {}),
);

scripted(
  "frame_malformed: 255 bytes of garbage",
  {
    onHello(caller, hello) {
      HONEST.onHello(caller, hello);
      caller.sendRaw(Uint8Array.of(0x80, 0, 0, 255));
      caller.sendRaw(new Uint8Array(255).fill(0xee));
    },
  },
  (server) =>
    expect(server.address, { state: "faulty", code: "frame_malformed", hint: /not Stellar, broken/ }).then(() => {}),
);

scripted("xdr_invalid: a HELLO cut short", {
  onHello(caller) {
    const frame = new Uint8Array(4 + 12 + 8 + 32);
    frame.set([0x80, 0, 0, 52], 0);
    frame.set([0, 0, 0, 13], 16);
    caller.sendRaw(frame);
  },
}, (server) => expect(server.address, { state: "faulty", code: "xdr_invalid", hint: /cut or altered/ }).then(() => {}));

scripted("protocol_violation: a message before the handshake is complete", {
  onHello(caller, hello) {
    HONEST.onHello(caller, hello);
    caller.send({ type: "getScpState", ledgerSeq: 0 });
  },
}, async (server) => {
  const row = await expect(server.address, { state: "faulty", code: "protocol_violation", hint: /does not follow/ });
  assert.match(row.detail ?? "", /GET_SCP_STATE before completed handshake/);
});

scripted("bad_cert: a certificate whose signature is wrong proves no identity", {
  onHello(caller, hello) {
    caller.agree(hello);
    const cert = caller.local.auth.cert();
    caller.sendHello({ cert: { ...cert, expiration: cert.expiration + 1n } });
  },
}, async (server) => {
  const row = await expect(server.address, { state: "faulty", code: "bad_cert", hint: /--network auto/ });
  assert.equal(row.nodeId, null);
});

scripted("bad_key: an unusable Curve25519 key", {
  onHello(caller) {
    const pubkey = new Uint8Array(32), expiration = BigInt(Math.floor(Date.now() / 1000) + 3600);
    caller.sendHello({ cert: signedCert(caller, pubkey, expiration) });
  },
}, (server) => expect(server.address, { state: "faulty", code: "bad_key", hint: /broken or hostile/ }).then(() => {}));

scripted("identity_mismatch when another node answers", HONEST, (server) => {
  const other = "GDKXE2OZMJIPOSLNA6N6F2BVCI3O777I2OOC4BV7VOYUEHYX7RTRYA7Y";
  return expect(`${other}@${server.address}`, {
    state: "faulty",
    code: "identity_mismatch",
    hint: /another node answers/,
  }).then(() => {});
});

// ---- something else listens ----

const services: [name: string, greeting: string | Uint8Array, waits: boolean][] = [
  ["http", "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", true],
  ["tls", Uint8Array.of(0x15, 3, 3, 0, 2, 2, 10), true],
  ["ssh", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", false],
  ["unknown", "220 mail.example.org ESMTP\r\n", false],
];
for (const [name, greeting, waits] of services) {
  test(`connect: not_stellar, it looks like ${name}`, async () => {
    await using server = await rawServer((socket) => {
      const answer = () => void socket.write(greeting);
      if (waits) socket.once("data", answer);
      else answer();
    });
    const row = await expect(server.address, {
      state: "not-stellar",
      code: "not_stellar",
      hint: name === "http" ? /11626/ : /another service/,
    });
    if (name !== "unknown") assert.match(row.detail ?? "", new RegExp(name, "i"));
  });
}

// ---- the connection lived and ended ----

scripted("dropped_by_remote while connected: the text is kept and the identity too", {
  ...HONEST,
  onMessage: (caller) => caller.sendError("ERR_MISC", "dropped by user"),
}, async (server) => {
  const row = await expect(server.address, { state: "dropped", code: "dropped_by_remote", hint: /operator/ });
  assert.equal(row.remoteText, "dropped by user");
  assert.equal(row.nodeId, server.local.nodeIdText);
});

scripted("connection_lost while connected", { ...HONEST, onMessage: (caller) => caller.end() }, async (server) => {
  await expect(server.address, { state: "dropped", code: "connection_lost", hint: /try again/ });
});

// ---- text from the remote ----

scripted("text from a remote cannot write to the terminal", {
  onHello(caller, hello) {
    caller.agree(hello);
    caller.sendHello({ versionStr: "\x1b[2J\r\nowned\u202e" });
    caller.sendError("ERR_MISC", "\x1b]0;title\x07");
  },
}, async (server) => {
  const { out } = await runTool(["connect", server.address, "--network", "local"]);
  assert.ok(!out.includes("\x1b") && !out.includes("\r") && !out.includes("\u202e"), JSON.stringify(out));
  assert.ok(out.includes("\\x1b[2J\\x0d\\x0aowned\\u{202e}"), out);
});

scripted("an ERR_LOAD before AUTH is no full node: it has not proved who it is", {
  onHello(caller, hello) {
    HONEST.onHello(caller, hello);
    caller.sendError("ERR_LOAD", "peer rejected");
  },
}, async (server) => {
  await expect(server.address, { state: "refused", code: "peer_rejected", hint: /no free slot/ });
  const { status } = await connect(`${server.local.nodeIdText}@${server.address}`);
  assert.equal(status, 1, "a copied HELLO does not pass for the node it was copied from");
});

test("connect: one node given several times, and by two names, is reached each time", async () => {
  await using server = await onceAtATime();
  const name = `localhost:${server.port}`;
  const { status, out, err } = await runTool([
    "connect",
    server.address,
    name,
    server.address,
    server.address,
    "--json",
    "--network",
    "local",
    "--scp",
    "0",
  ]);
  assert.equal(status, 0, out + err);
  assert.deepEqual(JSON.parse(out).results.map((row: Row) => row.state), [
    "reachable",
    "reachable",
    "reachable",
    "reachable",
  ]);
});

test("connect: --stay TIME counts from the admission, for every target, and ends with 0", async () => {
  await using server = await fakeNode(HONEST);
  await using other = await fakeNode(HONEST);
  const { status, out } = await runTool([
    "connect",
    server.address,
    other.address,
    "--concurrency",
    "1",
    "--stay",
    "300ms",
    "--json",
    "--network",
    "local",
  ]);
  assert.equal(status, 0);
  assert.deepEqual(JSON.parse(out).results.map((row: Row) => row.state), ["reachable", "reachable"]);
});

test("connect: after Ctrl-C every target has its row", async () => {
  await using server = await rawServer(() => {});
  const run = startTool([
    "connect",
    ...Array.from({ length: 5 }, () => server.address),
    "--concurrency",
    "1",
    "--network",
    "local",
    "--timeout",
    "30",
    "--json",
  ]);
  await new Promise((resolve) => setTimeout(resolve, 700));
  run.signal("SIGINT");
  const { status, out } = await run.done;
  assert.equal(status, 130);
  assert.deepEqual(JSON.parse(out).results.map((row: Row) => row.state), Array(5).fill("interrupted"));
});

test("connect: --out writes the document beside the text, and an older file survives a failure", async () => {
  await using server = await fakeNode(HONEST);
  const file = join(temporaryFolder(), "result.json");
  const first = await runTool(["connect", server.address, "--network", "local", "--scp", "0", "--out", file]);
  assert.match(first.out, /reachable/);
  assert.equal(JSON.parse(readFileSync(file, "utf8")).results[0].state, "reachable");
  const both = await runTool(["connect", server.address, "--network", "local", "--scp", "0", "--json", "--out", file]);
  assert.equal(readFileSync(file, "utf8"), both.out);
  const wrong = await runTool(["connect", server.address, "--network", "nowhere", "--out", file]);
  assert.equal(wrong.status, 2);
  assert.equal(readFileSync(file, "utf8"), both.out);
  const full = await runTool([
    "connect",
    server.address,
    "--network",
    "local",
    "--scp",
    "0",
    "--json",
    "--out",
    "/dev/full",
  ]);
  assert.equal(full.status, 1);
  assert.equal(JSON.parse(full.out).results.length, 1, "what was found is printed all the same");
  assert.match(full.err, /file_unwritable/);
});

test("connect: one bound of the version window moves the other along", async () => {
  let seen: [number, number] | undefined;
  await using server = await fakeNode({
    ...HONEST,
    onHello(caller, hello) {
      seen = [hello.overlayMinVersion, hello.overlayVersion];
      HONEST.onHello(caller, hello);
    },
  });
  await connect(server.address, "--overlay-min", "2000");
  assert.deepEqual(seen, [2000, 2000]);
  await connect(server.address, "--overlay-version", "40", "--overlay-min", "38");
  assert.deepEqual(seen, [38, 40]);
});

test("connect: several targets, some failing, is a partial result; results keep the order", async () => {
  await using good = await fakeNode(HONEST);
  const { status, out } = await runTool([
    "connect",
    "127.0.0.1:1",
    good.address,
    "127.0.0.1:2",
    "--json",
    "--network",
    "local",
    "--scp",
    "0",
  ]);
  assert.equal(status, 3);
  assert.deepEqual(JSON.parse(out).results.map((row: Row) => row.state), ["dead", "reachable", "dead"]);
});

test("connect: targets come from a file and from stdin, with comments", async () => {
  await using good = await fakeNode(HONEST);
  const file = join(temporaryFolder(), "targets");
  writeFileSync(file, `# ours\n${good.address}  # the good one\n\n`);
  const fromFile = await runTool(["connect", "--from", file, "--json", "--network", "local", "--scp", "0"]);
  const fromStdin = await runTool(["connect", "-", "--ndjson", "--network", "local", "--scp", "0"], {
    input: good.address + "\n",
  });
  assert.equal(JSON.parse(fromFile.out).results[0].state, "reachable");
  assert.equal(JSON.parse(fromStdin.out).type, "connect");
});

const wrongUsage: [name: string, args: string[], says: RegExp][] = [
  ["a malformed address", ["127.0.0.1:99999"], /port is above 65535/],
  ["a node id with a wrong checksum", ["G" + "A".repeat(55) + "@127.0.0.1:1"], /checksum|node id/i],
  ["a timeout of nothing", ["127.0.0.1:1", "--timeout", "0"], /at least 1 ms/],
  ["no target", [], /no target given/],
  ["an unknown option", ["x:1", "--netwrok", "local"], /unknown option.*\n?.*--network/],
  ["an unknown network", ["x:1", "--network", "testent"], /no network of that name/],
  ["a bad duration", ["x:1", "--timeout", "soon"], /write seconds/],
  ["two output formats", ["x:1", "--json", "--ndjson"], /exclude each other/],
];
for (const [name, args, says] of wrongUsage) {
  test(`connect: ${name} is wrong usage, status 2, nothing on stdout`, async () => {
    const { status, out, err } = await runTool(["connect", ...args]);
    assert.equal(status, 2, err);
    assert.equal(out, "");
    assert.match(err, says);
  });
}

test("connect: a seed file that others can read is refused", async () => {
  const file = join(temporaryFolder(), "seed");
  writeFileSync(file, encodeSecretSeed(new Uint8Array(32).fill(9)));
  chmodSync(file, 0o644);
  const { status, err } = await runTool(["connect", "127.0.0.1:1", "--seed-file", file]);
  assert.equal(status, 1);
  assert.match(err, /seed_file_exposed[\s\S]*chmod 600/);
});

test("connect: Ctrl-C prints what is known and ends with 130", async () => {
  await using server = await rawServer(() => {});
  const run = startTool(["connect", server.address, "--network", "local", "--timeout", "30", "--json"]);
  await new Promise((resolve) => setTimeout(resolve, 700));
  run.signal("SIGINT");
  const { status, out } = await run.done;
  assert.equal(status, 130);
  assert.equal(JSON.parse(out).results.length, 1);
});

/** A node that has one place per node id, as every real node. */
function onceAtATime(): Promise<FakeServer & { local: { nodeIdText: string } }> {
  const inside = new Map<string, Caller>();
  return fakeNode({
    ...HONEST,
    onHello(caller, hello) {
      HONEST.onHello(caller, hello);
      const id = toHex(hello.peerId);
      const other = inside.get(id);
      if (other !== undefined && !other.gone) caller.sendError("ERR_CONF", "already-connected peer: GABCD");
      else inside.set(id, caller);
    },
  });
}

/** A node of its own network: callers of another one get the silent close of a failed certificate check. */
function realNode(): Script {
  return {
    ...HONEST,
    onHello(caller, hello) {
      if (caller.local.auth.verifyCert(hello.cert, hello.peerId) !== "ok") caller.end();
      else HONEST.onHello(caller, hello);
    },
  };
}

/** A certificate with any key, properly signed. */
function signedCert(caller: Caller, pubkey: Uint8Array, expiration: bigint) {
  return issueCert(caller.local.identity, caller.local.networkId, pubkey, expiration);
}
