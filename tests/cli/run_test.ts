/** `run` through the program, over real TCP on loopback addresses: a node that listens, dials, relays, is asked, and stops. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { systemClock } from "../../overlay/base/clock.ts";
import { initPrimitives } from "../../overlay/crypto/primitives.ts";
import { encodeNodeId, encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { BanManager } from "../../overlay/db/ban_manager.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import { parsePeerAddress } from "../../overlay/base/peer_address.ts";
import type { SurveyPageAnswer } from "../../overlay/survey/surveyor.ts";
import { EngineWorld, idOf } from "../kit/engine_world.ts";
import { type LogLine, type RunningNode, startNode, until } from "../kit/node_tool.ts";
import { parseOpenMetrics } from "../kit/openmetrics.ts";
import { type RunningTool, runTool, startTool, temporaryFolder, toolCommand } from "../kit/tool.ts";

// deno-lint-ignore no-control-regex
const CONTROL = /[\x00-\x09\x0b-\x1f\x7f]/;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const folder = temporaryFolder();

/** What `connect --json` says of one target. */
interface Connected {
  state: string;
  code: string | null;
  nodeId: string | null;
  remoteText: string | null;
  scpMessages: number;
}

async function connect(address: string, ...args: string[]): Promise<Connected> {
  const { out, err } = await runTool(["connect", address, "--network", "local", "--json", ...args]);
  assert.notEqual(out, "", err);
  return JSON.parse(out).results[0];
}

/** One page of a node. */
async function page(node: RunningNode, path: string, accept?: string) {
  const response = await fetch(node.pages + path, { headers: accept === undefined ? {} : { accept } });
  return { status: response.status, type: response.headers.get("content-type"), text: await response.text() };
}

/** Place of the identity that may survey the node. */
const SURVEYOR = 0;

const isMessageType = (type: string) => (sample: { labels: Record<string, string> }) => sample.labels.type === type;

describe("run: a node at a simulated network", () => {
  let twin: RunningTool, node: RunningNode;
  before(async () => {
    const port = String(29_500 + (process.pid % 3000));
    const args = ["--nodes", "8", "--seed", "3", "--topology", "random", "--validators", "3", "--ledger-ms", "500"];
    twin = startTool(["simulate", "--json", "--port", port, ...args], { limitMs: 120_000 });
    await twin.saw(/"seeds": \[[^\]]*\]/);
    await until(() => isJson(twin.out()));
    const { seeds } = JSON.parse(twin.out()) as { seeds: string[] };
    const flags = ["--log-level", "debug", "--status", "1s", "--peer", seeds[0], "--surveyor-key", idOf(SURVEYOR)];
    node = await startNode(flags, { limitMs: 120_000 });
  });
  after(async () => {
    twin.signal("SIGTERM");
    await twin.done;
  });

  test("it dials, is admitted, follows the network's ledgers, and says so in its log and at /health", async () => {
    const peer = await node.line((line) => line.type === "authenticated", "authenticated");
    assert.equal(peer.role, "weCalledRemote");
    const status = await node.line((line) => line.type === "status" && Number(line.ledger) > 0, "a ledger");
    await node.line(
      (line) => line.type === "status" && Number(line.ledger) >= Number(status.ledger) + 2,
      "more ledgers",
    );
    const { status: code, text } = await page(node, "/health");
    const health = JSON.parse(text);
    assert.deepEqual([code, health.health, health.nodeId, health.network], [200, "ok", node.nodeId, "local"]);
  });

  test("our own connect meets it, and hears SCP messages that it relays", async () => {
    const met = await connect(node.address, "--stay", "2");
    assert.deepEqual([met.state, met.nodeId], ["reachable", node.nodeId]);
    assert.ok(met.scpMessages > 0, "it sent SCP messages");
    await node.line((line) => line.type === "authenticated" && line.role === "remoteCalledUs", "the caller");
  });

  test("/metrics is OpenMetrics or Prometheus text as asked for, and counts what happened", async () => {
    const open = await page(node, "/metrics", "application/openmetrics-text; version=1.0.0, text/plain;q=0.5");
    assert.equal(open.type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    const families = parseOpenMetrics(open.text);
    const read = families.get("stellar_overlay_messages_read")!.samples.find(isMessageType("SCP_MESSAGE"));
    assert.ok(read !== undefined && read.value > 0, open.text);
    const old = await page(node, "/metrics");
    assert.equal(old.type, "text/plain; version=0.0.4; charset=utf-8");
    assert.match(old.text, /^stellar_overlay_messages_read_total\{type="SCP_MESSAGE"\} \d+$/m);
    const json = JSON.parse((await page(node, "/metrics.json")).text);
    assert.equal(json.schema, "stellar-overlay/metrics/1");
    assert.ok(json.messages.SCP_MESSAGE.read > 0);
  });

  test("--surveyor-key: the node collects, freezes and answers for who has that identity; /survey and the log say so", async () => {
    await using world = new EngineWorld({ tcp: true });
    const { engine } = await world.add({
      index: SURVEYOR,
      config: { noListen: true, noDial: true, isValidator: false },
    });
    const phaseOf = async () => JSON.parse((await page(node, "/survey")).text);
    assert.deepEqual(await phaseOf(), {
      schema: "stellar-overlay/survey-state/1",
      phase: "inactive",
      nonce: null,
      surveyorId: null,
      startedAt: null,
      stoppedAt: null,
      phaseEndsAt: null,
    });
    engine.connect(parsePeerAddress(node.address));
    await until(() => engine.ledgerSeq !== undefined && engine.counts.outbound === 1);
    const answers: SurveyPageAnswer[] = [];
    engine.survey.onAnswer((answer) => answers.push(answer));
    assert.equal(engine.survey.startCollecting(0xfeed).started, true);
    await until(async () => (await phaseOf()).phase === "collecting");
    const ledger = engine.ledgerSeq!;
    await until(() => engine.ledgerSeq! > ledger + 2);
    assert.equal(engine.survey.stopCollecting().stopped, true);
    await until(async () => (await phaseOf()).phase === "reporting");
    const state = await phaseOf();
    assert.deepEqual([state.nonce, state.surveyorId], [0xfeed, idOf(SURVEYOR)]);
    for (const at of [state.startedAt, state.stoppedAt, state.phaseEndsAt]) assert.match(at, ISO);
    engine.survey.ask([{ nodeId: node.nodeId, inboundIndex: 0, outboundIndex: 0 }]);
    await until(() => answers.length === 1);
    const [answer] = answers;
    assert.ok(answer.kind === "page");
    const { inboundPeers, outboundPeers, nodeData } = answer.topology;
    const us = inboundPeers.find(({ peerStats }) => encodeNodeId(peerStats.id) === idOf(SURVEYOR))!;
    assert.ok(us.peerStats.messagesWritten > 3n && us.peerStats.bytesWritten > 1000n);
    assert.ok(outboundPeers.some(({ peerStats }) => peerStats.uniqueFloodMessageRecv > 3n));
    assert.deepEqual([nodeData.isValidator, nodeData.totalInboundPeerCount], [false, inboundPeers.length]);
    for (const type of ["surveyStarted", "surveyStopped", "surveyAnswered"]) {
      await node.line((line) => line.type === type && line.surveyorId === idOf(SURVEYOR), type);
    }
    const metrics = JSON.parse((await page(node, "/metrics.json")).text);
    assert.deepEqual([metrics.gauges.surveyPhase, metrics.labelledCounters.surveyMessages.answered], [2, 1]);
  });

  test("/peers has the shape of stellar-core's command", async () => {
    const peersOf = async (query: string) => JSON.parse((await page(node, `/peers${query}`)).text).authenticated_peers;
    const [peer] = (await peersOf("")).outbound;
    assert.match(peer.address, /^127\.0\.0\.\d+:\d+$/);
    assert.match(peer.id, /^G[A-Z2-7]{4}$/);
    for (const field of ["elapsed", "olver"]) assert.equal(typeof peer[field], "number", field);
    assert.equal(typeof peer.ver, "string");
    const [full] = (await peersOf("?fullkeys=true&compact=false")).outbound;
    assert.match(full.id, /^G[A-Z2-7]{55}$/);
    assert.ok(full.message_read > 0);
  });

  test("SIGTERM: a goodbye to the peers, totals in the last line, status 0, nothing on stderr; every line is valid", async () => {
    const staying = startTool(["connect", node.address, "--network", "local", "--json", "--stay"]);
    const callers = () => node.lines().filter((line) => line.role === "remoteCalledUs").length;
    const before = callers();
    await until(() => callers() > before);
    assert.equal(await node.stop("SIGTERM"), 0);
    const [seen] = JSON.parse((await staying.done).out).results as Connected[];
    assert.deepEqual([seen.state, seen.remoteText], ["dropped", "shutdown"]);
    assert.equal(node.run.err(), "");
    const lines = node.lines();
    for (const line of lines) assertLine(line);
    const last = lines.at(-1)!;
    assert.deepEqual([last.type, last.reason], ["stopped", "interrupted"]);
    assert.ok(Number(last.authenticatedOutbound) >= 1 && Number(last.authenticatedInbound) >= 2);
    assert.ok(Number(last.messagesRead) > 0 && Number(last.bytesRead) > 0 && Number(last.uptimeMs) > 0);
  });
});

/** The fields that docs/json.md promises. */
function assertLine(line: LogLine): void {
  assert.equal(line.schema, "stellar-overlay/run/1");
  assert.match(line.at, ISO);
  assert.ok(["error", "warn", "info", "debug"].includes(line.level), line.level);
  const { type } = line;
  const address = /^[\w.-]+:\d+$|^\[[0-9a-f:]+\]:\d+$/;
  if (["listening", "dialing", "dialFailed", "authenticated", "dropped", "refused"].includes(type)) {
    assert.match(line.address as string, address);
  }
  if (type === "dialFailed" || type === "dropped") {
    assert.match(line.code as string, /^[a-z_]+$/);
  }
  if (type === "dropped") assert.ok(line.by === "us" || line.by === "remote");
  if (type === "authenticated") assert.match(line.nodeId as string, /^G[A-Z2-7]{55}$/);
  if (type === "status" || type === "stopped") {
    const counts = ["outbound", "inbound", "pending", "messagesPerSecond", "messagesRead", "bytesRead", "uptimeMs"];
    for (const field of counts) assert.ok(Number(line[field]) >= 0, `${type}.${field}`);
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

test("run: two nodes; SIGHUP reads a ban of another process and drops the peer, which is told", async () => {
  await initPrimitives();
  const path = join(folder, "ban.sqlite");
  const a = await startNode(["--db", path], { noDatabase: false });
  const b = await startNode(["--peer", a.address]);
  await a.line((line) => line.type === "authenticated" && line.nodeId === b.nodeId, "b");
  const database = await openNodeDatabase(path, { networkPassphrase: LOCAL.passphrase });
  new BanManager(database, { clock: systemClock }).ban(b.nodeId, { reason: "test" });
  database.close();
  a.run.signal("SIGHUP");
  await a.line((line) => line.type === "bansReread" && line.bans === 1, "bansReread");
  const dropped = await b.line((line) => line.type === "dropped" && line.nodeId === a.nodeId, "dropped");
  assert.deepEqual([dropped.by, dropped.reason], ["remote", "ERR_MISC (dropped by user)"]);
  // Both stay up, and the log goes on.
  assert.deepEqual([await b.stop("SIGINT"), await a.stop("SIGINT")], [0, 0]);
  assert.equal(a.lines().at(-1)!.reason, "interrupted");
});

test("run: crawl writes to the node's database meanwhile; kill -9 leaves it usable, with what was learned", async () => {
  const path = join(folder, "shared.sqlite");
  const a = await startNode(["--db", path], { noDatabase: false });
  const b = await startNode(["--peer", a.address]);
  await b.line((line) => line.type === "authenticated", "a");
  const crawled = await runTool(["crawl", a.address, "--network", "local", "--db", path, "--json", "--timeout", "2"]);
  assert.equal(crawled.status, 0, crawled.err);
  assert.ok(JSON.parse(crawled.out).nodes.some((row: { nodeId: string }) => row.nodeId === a.nodeId));
  assert.equal(a.lines().filter((line) => line.level === "error").length, 0);
  assert.equal((await page(a, "/health")).status, 200);
  await a.stop("SIGKILL");
  await b.stop();
  const again = await runTool([
    "run",
    "--network",
    "local",
    "--listen",
    "0",
    "--db",
    path,
    "--for",
    "100ms",
    "--log",
    "json",
  ]);
  assert.equal(again.status, 0, again.err);
  const starting: LogLine = JSON.parse(again.out.split("\n")[0]);
  assert.ok(Number(starting.addresses) >= 1, "b's address, learned from its HELLO");
});

test("run: text on a pipe has no colour and no status line; --for ends it with a summary", async () => {
  const { status, out, err } = await runTool(
    ["run", "--network", "local", "--no-db", "--listen", "0", "--for", "300ms"],
    { env: { FORCE_COLOR: "", NO_COLOR: "" } },
  );
  assert.deepEqual([status, err], [0, ""]);
  assert.doesNotMatch(out, CONTROL);
  for (const line of out.trimEnd().split("\n")) assert.match(line, /^\d{4}-\S+Z (error|warn |info |debug) \S/);
  assert.match(out, /watcher: relays SCP messages/);
  assert.match(out, /node id G[A-Z2-7]{55} \(fresh; another one at the next start/);
  assert.match(out, /warn {2}nobody to dial: give --peer HOST:PORT, or wait for others to call/);
  assert.match(out, /listening on 127\.0\.0\.1:\d+/);
  assert.match(out, /stopped after .*: the time of --for is over\n/);
  assert.match(out, /received 0 messages, 0 B/);
});

test("run: --log-level leaves out what matters less", async () => {
  const { out } = await runTool(
    ["run", "--network", "local", "--no-db", "--listen", "0", "--for", "100ms", "--log-level", "warn"],
  );
  assert.equal(out.trimEnd().split("\n").length, 1);
  assert.match(out, /nobody to dial/);
});

test("run: a busy port of the listener or of the pages is an error with a hint, status 1, and nothing stays behind", async () => {
  const node = await startNode([]);
  const path = join(folder, "busy.sqlite");
  const base = ["run", "--network", "local", "--for", "5", "--db", path];
  const listen = await runTool([...base, "--listen", node.address]);
  assert.equal(listen.status, 1);
  assert.match(listen.err, /^error: 127\.0\.0\.1:\d+ is already in use \(port_in_use\)\n {2}hint: choose another port/);
  const pages = await runTool([...base, "--listen", "0", "--metrics", new URL(node.pages).host]);
  assert.equal(pages.status, 1);
  assert.match(pages.err, /already in use \(port_in_use\)/);
  const elsewhere = await runTool([...base, "--listen", "192.0.2.1:5"]);
  assert.equal(elsewhere.status, 1);
  assert.match(elsewhere.err, /cannot listen on 192\.0\.2\.1:5 \(EADDRNOTAVAIL\) \(listen_failed\)/);
  assert.equal(await node.stop(), 0);
});

test("run: wrong flags end with status 2 and a sentence", async () => {
  const wrong: [string[], RegExp][] = [
    [["--network", "tesnet"], /--network tesnet: no network of that name/],
    [["--validator", "--watcher"], /--validator and --watcher exclude each other/],
    [["--no-listen", "--no-dial"], /--no-listen and --no-dial exclude each other/],
    [["--listen", "1.2.3.4:99999"], /--listen 1\.2\.3\.4:99999: the port is above 65535/],
    [["--metrics", "core.example.org"], /--metrics core\.example\.org: a name cannot be listened on/],
    [["--peer", "1.2.3.4:x"], /--peer: .*the port is not a number/],
    [["--new-seed"], /--new-seed needs the name of the file/],
    [["--seed-file", join(folder, "none.seed")], /no such file\n {2}hint: to make it add --new-seed/],
    [["--log", "xml"], /Allowed choices are text, json/],
    [["--log-level", "loud"], /Allowed choices are error, warn, info, debug/],
    [["--for", "soon"], /write seconds/],
    [["extra"], /too many arguments/],
  ];
  for (const [args, message] of wrong) {
    const { status, out, err } = await runTool(["run", "--no-db", ...args]);
    assert.equal(status, 2, `${args}: ${err}`);
    assert.match(err, message);
    assert.equal(out, "");
  }
});

test("run --config: its settings, its identity with a warning, flags first; its secret is never shown", async () => {
  const secret = encodeSecretSeed(new Uint8Array(32).fill(9));
  const path = join(folder, "core.cfg");
  const lines = [
    'NETWORK_PASSPHRASE="Standalone Network ; February 2017"',
    "PEER_PORT=11625",
    "TARGET_PEER_CONNECTIONS=3",
    'KNOWN_PEERS=["127.0.0.9:1", "bad host"]',
    `NODE_SEED="${secret} self"`,
  ];
  writeFileSync(path, lines.join("\n"));
  const base = ["run", "--config", path, "--no-db", "--listen", "0", "--for", "100ms", "--log", "json"];
  const own = await runTool(base);
  assert.equal(own.status, 0, own.err);
  const starting: LogLine = JSON.parse(own.out.split("\n")[0]);
  assert.deepEqual([starting.identity, starting.targetPeers, starting.network], ["configuration", 3, "local"]);
  assert.deepEqual(starting.knownPeers, ["127.0.0.9:1"]);
  assert.match(own.out, /the identity of .*core\.cfg: no other process may use it/);
  assert.match(own.out, /KNOWN_PEERS: cannot parse peer address 'bad host'/);
  const fresh = await runTool([...base, "--no-config-seed", "--target", "2"]);
  const other: LogLine = JSON.parse(fresh.out.split("\n")[0]);
  assert.deepEqual([other.identity, other.targetPeers], ["fresh", 2]);
  assert.notEqual(other.nodeId, starting.nodeId);

  const broken = join(folder, "broken.cfg");
  writeFileSync(broken, [...lines, 'MAX_PENDING_CONNECTIONS="many"'].join("\n"));
  const failed = await runTool(["run", "--config", broken, "--no-db"]);
  assert.equal(failed.status, 1);
  assert.match(failed.err, /broken\.cfg: line 6: MAX_PENDING_CONNECTIONS is not a whole number .* \(config_invalid\)/);
  for (const result of [own, fresh, failed]) assert.ok(!(result.out + result.err).includes(secret.slice(0, 20)));
});

test("run --seed-file --new-seed: the identity stays the same from one start to the next", async () => {
  const path = join(folder, "seeds", "node.seed");
  const start = async () => {
    const args = ["--seed-file", path, "--new-seed", "--no-db", "--listen", "0", "--for", "50ms", "--log", "json"];
    const { out } = await runTool(["run", "--network", "local", ...args]);
    return JSON.parse(out.split("\n")[0]) as LogLine;
  };
  const first = await start(), second = await start();
  assert.deepEqual([first.identity, second.identity], ["new seed file", "seed file"]);
  assert.equal(first.nodeId, second.nodeId);
});

test("run: when nobody reads the log any more it stops in order, says so, and its status is 0", async () => {
  const [command, leading] = toolCommand();
  const args = ["run", "--network", "local", "--no-db", "--listen", "127.0.0.1:0", "--status", "100ms", "--for", "30"];
  const child = spawn(command, [...leading, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let err = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  await new Promise((resolve) => child.stdout.once("data", resolve));
  child.stdout.destroy();
  assert.equal(await ended, 0, err);
  assert.match(err, /nobody reads the log any more \(stdout is closed\): stopping/);
});

test("run: a reader that takes nothing does not hold the node up; what it missed is counted", async () => {
  const [command, leading] = toolCommand();
  const args = ["run", "--network", "local", "--no-db", "--listen", "127.0.0.1:0", "--metrics", "0", "--log", "json"];
  const noisy = ["--log-level", "debug", "--status", "1ms", "--for", "40"];
  const child = spawn(command, [...leading, ...args, ...noisy], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  let out = "";
  const read = (chunk: string) => void (out += chunk);
  child.stdout.setEncoding("utf8").on("data", read);
  await until(() => /"type":"metrics".*\n/.test(out));
  child.stdout.off("data", read).pause();
  const { url } = JSON.parse(out.split("\n").find((line) => line.includes('"type":"metrics"'))!);
  // Some 300 kB of lines per second against 1 MiB and a pipe.
  await until(async () => (await (await fetch(`${url}health`)).json()).uptimeMs > 7000);
  child.stdout.on("data", read).resume();
  await until(() => /"type":"linesLost".*\n/.test(out));
  const lost = JSON.parse(out.split("\n").find((line) => line.includes('"type":"linesLost"'))!);
  assert.ok(lost.count > 0);
  process.kill(child.pid!, "SIGTERM");
  assert.equal(await ended, 0);
  assert.match(out, /"type":"stopped".*\n$/);
});

test("run: a second signal stops at once with 130", async () => {
  const node = await startNode([]);
  node.run.signal("SIGINT");
  node.run.signal("SIGTERM");
  assert.equal((await node.run.done).status, 130);
});

test("run --help says what it does, and the help of the tool lists it", async () => {
  const { status, out } = await runTool(["run", "--help"]);
  assert.equal(status, 0);
  for (const word of ["--seed-file", "--new-seed", "SIGHUP", "--metrics", "exit status 0"]) {
    assert.match(out, new RegExp(word));
  }
  assert.match((await runTool(["--help"])).out, /^ {2}run /m);
  assert.ok(existsSync(folder));
});
