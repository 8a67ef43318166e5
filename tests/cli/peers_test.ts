/** `peers` through the program: what a crawl and a node left in one database, and every way to change it. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { LOCAL } from "../../overlay/base/networks.ts";
import { openNodeDatabase, SCHEMA_VERSION } from "../../overlay/db/schema.ts";
import { startNode, until } from "../kit/node_tool.ts";
import { runTool, startTool, temporaryFolder, type ToolResult } from "../kit/tool.ts";

const folder = temporaryFolder();
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

interface Row {
  address: string;
  type: string;
  failures: number;
  lastOutcome: string | null;
  lastCode: string | null;
  nodeId: string | null;
  rttMs: number | null;
  visits: { tried: number; admitted: number };
  banned: boolean;
  [field: string]: unknown;
}

/** Runs subcommands on a database. */
function on(name: string) {
  const path = join(folder, `${name}.sqlite`);
  const run = (args: string[], options: { input?: string } = {}): Promise<ToolResult> =>
    runTool(["peers", args[0], "--network", "local", "--db", path, ...args.slice(1)], options);
  const list = async (...args: string[]): Promise<Row[]> =>
    JSON.parse((await run(["list", "--json", ...args])).out).peers;
  return { path, run, list };
}

describe("peers: after a crawl of a simulated network", () => {
  const { path, run, list } = on("crawled");
  let seeds: string[];
  before(async () => {
    const port = String(32_500 + (process.pid % 3000));
    const twin = startTool(["simulate", "--json", "--nodes", "14", "--seed", "3", "--port", port], { limitMs: 60_000 });
    try {
      await until(() => /\}\s*$/.test(twin.out()));
      seeds = JSON.parse(twin.out()).seeds;
      for (let i = 0; i < 2; i++) {
        const crawled = await runTool([
          "crawl",
          seeds[0],
          "--network",
          "local",
          "--db",
          path,
          "--no-table",
          "--timeout",
          "1500ms",
        ]);
        assert.ok(crawled.status === 0 || crawled.status === 3, crawled.err);
      }
    } finally {
      twin.signal("SIGTERM");
      await twin.done;
    }
  });

  test("list: best first, filters, orders, and the shape of its document", async () => {
    const { out } = await run(["list", "--json"]);
    const document = JSON.parse(out);
    assert.deepEqual([document.schema, document.action, document.network, document.database], [
      "stellar-overlay/peers/1",
      "list",
      "local",
      path,
    ]);
    assert.match(document.at, ISO);
    const rows: Row[] = document.peers;
    assert.equal(document.total, rows.length);
    const accepting = rows.filter((row) => row.lastOutcome === "reachable");
    assert.ok(accepting.length > 2 && accepting.length < rows.length);
    assert.deepEqual(rows.slice(0, accepting.length), accepting, "they come first");
    for (const row of accepting) {
      assert.match(row.nodeId!, /^G[A-Z2-7]{55}$/);
      assert.ok(row.rttMs! > 0);
      assert.deepEqual([row.type, row.visits, row.lastCode, row.nextAttemptAt], [
        "crawled",
        { tried: 2, admitted: 2 },
        null,
        null,
      ]);
      assert.match(row.lastAdmittedAt as string, ISO);
    }
    const rtts = accepting.map((row) => row.rttMs!);
    assert.deepEqual(rtts, [...rtts].sort((a, b) => a - b), "nearest first");
    assert.deepEqual(await list("--accepting"), accepting);
    assert.deepEqual((await list("--accepting", "--limit", "2")).length, 2);
    assert.ok((await list("--failing")).every((row) => row.failures > 0 && row.lastOutcome !== "reachable"));
    assert.equal((await list("--type", "outbound")).length, 0);
    assert.equal((await list("--since", "1h")).length, rows.length);
    const byFailures = (await list("--sort", "failures")).map((row) => row.failures);
    assert.deepEqual(byFailures, [...byFailures].sort((a, b) => b - a));
  });

  test("--for-config prints KNOWN_PEERS that admit us, which import reads back as outbound", async () => {
    const good = await list("--accepting");
    const { out } = await run(["list", "--for-config"]);
    const addresses = [
      ...out.matchAll(/^ {2}"([^"]+)", # (G[A-Z2-7]{55}), [\d.]+ ms, admitted us in 2 of 2 crawls, /gm),
    ];
    assert.deepEqual(
      addresses.map(([, address, nodeId]) => [address, nodeId]),
      good.map((row) => [row.address, row.nodeId]),
    );
    const to = on("for-config");
    const imported = await to.run(["import", "-", "--json"], { input: out });
    assert.deepEqual(JSON.parse(imported.out).counts, { added: good.length }, imported.err);
    assert.deepEqual(
      (await to.list("--type", "outbound")).map((row) => row.address).sort(),
      good.map((row) => row.address).sort(),
    );
    // A banned node is nobody to advise.
    await runTool(["ban", "add", good[0].nodeId!, "--network", "local", "--db", path]);
    const without = await run(["list", "--for-config"]);
    assert.doesNotMatch(without.out, new RegExp(good[0].nodeId!));
    assert.equal((await list("--accepting"))[0].banned, true);
  });

  test("show: an address and a node, with visits, stages and bans; status 1 for what is not known", async () => {
    const [peer] = await list("--accepting");
    const byAddress = JSON.parse((await run(["show", peer.address, "--json"])).out);
    assert.deepEqual([byAddress.action, byAddress.target, byAddress.peers], ["show", peer.address, [peer]]);
    assert.equal(byAddress.nodes[0].nodeId, peer.nodeId);
    assert.equal(byAddress.nodes[0].hello.overlayVersion > 0, true);
    assert.equal(byAddress.nodes[0].ban.until, null);
    assert.equal(byAddress.visits.length, 2);
    assert.ok(byAddress.visits[0].run > byAddress.visits[1].run);
    assert.deepEqual(Object.keys(byAddress.visits[0].stagesMs).slice(0, 3), ["tcp", "hello", "auth"]);
    const byNode = JSON.parse((await run(["show", peer.nodeId!, "--json", "--visits", "1"])).out);
    assert.deepEqual([byNode.peers, byNode.nodes, byNode.visits.length], [[peer], byAddress.nodes, 1]);
    const text = (await run(["show", peer.nodeId!])).out;
    assert.match(text, /banned +for ever/);
    const none = await run(["show", "192.0.2.1"]);
    assert.deepEqual([none.status, none.out], [1, ""]);
    assert.match(none.err, /^nothing is known of 192\.0\.2\.1:11625: database .*crawled\.sqlite of local\n$/);
  });

  test("export: lines for crawl and connect, CSV, JSON; each is imported again", async () => {
    const rows = await list();
    const lines = await run(["export"]);
    assert.equal(lines.out.split("\n").filter((line) => /^[^#]/.test(line)).length, rows.length);
    const file = join(folder, "peers.csv");
    const csv = await run(["export", "--csv", "--accepting", "-o", file]);
    assert.match(csv.err, /^\d+ addresses written to .*peers\.csv\n$/);
    assert.match(readFileSync(file, "utf8"), /^address,type,lastOutcome,/);
    for (const [i, text] of [lines.out, readFileSync(file, "utf8"), (await run(["export", "--json"])).out].entries()) {
      const to = on(`export-${i}`);
      const first = JSON.parse((await to.run(["import", "-", "--json"], { input: text })).out);
      assert.ok(first.counts.added > 0 && first.counts.kept === undefined, JSON.stringify(first.counts));
      const again = JSON.parse((await to.run(["import", "-", "--json"], { input: text })).out);
      assert.equal(again.counts.kept, first.counts.added);
    }
  });

  test("forget: by address, node, failures; visits stay", async () => {
    const rows = await list();
    const good = rows.filter((row) => row.lastOutcome === "reachable");
    const failing = rows.filter((row) => row.failures >= 2).map((row) => row.address);
    const dry = await run(["forget", "--failing", "2", "--dry-run"]);
    assert.match(dry.out, /dry run, nothing is changed: \d+ forgotten/);
    assert.equal((await list()).length, rows.length);
    assert.equal((await run(["forget", "--failing", "2"])).status, 0);
    const some = JSON.parse((await run(["forget", good[0].nodeId!, good[1].address, "192.0.2.1", "--json"])).out);
    assert.deepEqual(some.counts, { forgotten: 2, absent: 1 });
    const left = (await list()).map((row) => row.address);
    const gone = new Set([...failing, good[0].address, good[1].address]);
    assert.deepEqual(left, rows.map((row) => row.address).filter((address) => !gone.has(address)));
    const shown = JSON.parse((await run(["show", good[0].address, "--json"])).out);
    assert.deepEqual([shown.peers, shown.visits.length], [[], 2]);
    const refused = await run(["forget", "--all"]);
    assert.equal(refused.status, 2);
    assert.match(refused.err, /nobody can be asked here\n {2}hint: add --yes/);
    assert.equal((await run(["forget", "--all", "--yes"])).status, 0);
    assert.deepEqual(await list(), []);
  });
});

test("peers: what a node's own dials ended with, while it runs; forget and import reach it", async () => {
  const { path, list, run } = on("running");
  const a = await startNode(["--no-dial"]);
  const b = await startNode(["--db", path, "--peer", a.address, "--prefer", "127.0.0.1:1"], { noDatabase: false });
  await until(async () => (await list()).filter((row) => row.lastOutcome !== null).length === 2);
  const [good, dead] = await list();
  assert.deepEqual([good.address, good.type, good.lastOutcome, good.nodeId, good.failures], [
    a.address,
    "outbound",
    "reachable",
    a.nodeId,
    0,
  ]);
  assert.deepEqual([dead.address, dead.type, dead.lastOutcome, dead.lastCode], [
    "127.0.0.1:1",
    "preferred",
    "dead",
    "connect_refused",
  ]);
  assert.ok(dead.failures >= 1);
  // An address taken in from outside is dialed by the node that runs.
  const imported = await run(["import", "-"], { input: "127.0.0.1:2\n" });
  assert.match(imported.out, /127\.0\.0\.1:2 is added \(inbound\)/);
  await b.line((line) => line.type === "dialFailed" && line.address === "127.0.0.1:2", "it dials 127.0.0.1:2");
  assert.equal((await run(["forget", "127.0.0.1:2"])).status, 0);
  assert.equal((await list()).some((row) => row.address === "127.0.0.1:2"), false);
  assert.deepEqual([await b.stop(), await a.stop()], [0, 0]);
  assert.deepEqual(b.lines().filter((line) => line.level === "error"), []);
});

test("peers import: a configuration of this network or another, names, private addresses, --dry-run", async () => {
  const { path, run, list } = on("imports");
  const config = join(folder, "core.cfg");
  writeFileSync(
    config,
    `NETWORK_PASSPHRASE="${LOCAL.passphrase}"\nKNOWN_PEERS=["localhost:5", "1.2.3.4"]\nPREFERRED_PEERS=["1.2.3.5"]\n`,
  );
  const dry = await run(["import", config, "--dry-run"]);
  assert.match(dry.out, /localhost:5 would be added as 127\.0\.0\.1:5 \(outbound\)/);
  assert.equal(existsSync(path), false);
  await run(["import", "-"], { input: "1.2.3.4\n" });
  const done = JSON.parse((await run(["import", config, "--json"])).out);
  assert.deepEqual(done.counts, { added: 2, changed: 1 });
  assert.deepEqual((await list("--sort", "address")).map((row) => [row.address, row.type]), [
    ["1.2.3.4:11625", "outbound"],
    ["1.2.3.5:11625", "preferred"],
    ["127.0.0.1:5", "outbound"],
  ]);
  const testnet = join(folder, "testnet.sqlite");
  const other = await runTool(["peers", "import", config, "--network", "testnet", "--db", testnet]);
  assert.equal(other.status, 2);
  assert.match(other.err, /is of network 'Standalone.*', not of testnet/);
  const part = await runTool(["peers", "import", "-", "--network", "testnet", "--db", testnet], {
    input: "10.0.0.1\n1.2.3.4\n224.0.0.1",
  });
  assert.equal(part.status, 3);
  assert.match(
    part.out,
    /10\.0\.0\.1:11625 is skipped \(private_address\): --allow-private takes it\n.*\n224.*unroutable_address\)\n/,
  );
  const none = await runTool(["peers", "import", "-", "--network", "testnet", "--db", testnet], { input: "127.0.0.1" });
  assert.equal(none.status, 1);
});

test("peers: wrong usage ends with status 2; no database yet, a later version, a locked one", async () => {
  const { path, run } = on("states");
  const wrong: [string[], RegExp][] = [
    [["list", "--type", "strange"], /Allowed choices are inbound, outbound, preferred, crawled/],
    [["list", "--sort", "x"], /Allowed choices are best, address/],
    [["list", "--limit", "0"], /at least 1/],
    [["list", "--json", "--for-config"], /exclude each other/],
    [["export", "--json", "--csv"], /exclude each other/],
    [["show"], /missing required argument/],
    [["show", "1.2.3.4:x"], /the port is not a number/],
    [["forget"], /no address is named/],
    [["forget", "1.2.3.4", "--all"], /exclude each other/],
  ];
  for (const [args, message] of wrong) {
    const { status, err, out } = await run(args);
    assert.equal(status, 2, `${args}: ${err}`);
    assert.match(err, message);
    assert.equal(out, "");
  }
  const empty = await run(["list"]);
  assert.equal(empty.status, 0);
  assert.match(empty.out, /^address\ttype\t/);
  assert.match(
    empty.err,
    /^no addresses: database .*states\.sqlite of local: none yet\n {2}hint: crawl and run fill it/,
  );
  assert.equal(existsSync(path), false);
  const db = await openNodeDatabase(path, { networkPassphrase: LOCAL.passphrase });
  try {
    db.exec("BEGIN IMMEDIATE");
    const [locked, read] = await Promise.all([run(["import", "-"], { input: "1.2.3.4" }), run(["list"])]);
    assert.equal(locked.status, 1);
    assert.match(locked.err, /another process keeps it locked \(db_failed\)/);
    assert.equal(read.status, 0);
    db.exec("ROLLBACK");
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  } finally {
    db.close();
  }
  for (const args of [["list"], ["import", "-"]]) {
    assert.match((await run(args, { input: "1.2.3.4" })).err, /\(db_newer_schema\)/);
  }
  const help = await runTool(["peers", "import", "--help"]);
  assert.match(help.out, /Examples:[\s\S]*Exit status:/);
});
