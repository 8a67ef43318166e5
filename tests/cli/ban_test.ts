/** `ban` through the program: lists in and out, what is refused, databases that are missing, newer or locked, and stellar-core. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { LOCAL } from "../../overlay/base/networks.ts";
import { encodeNodeId, encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { openNodeDatabase, SCHEMA_VERSION } from "../../overlay/db/schema.ts";
import { CoreHttpServer, type CoreRequest, recorded, RECORDED_SELF, recordedNode } from "../kit/core_http_server.ts";
import { runTool, startTool, temporaryFolder, toolCommand } from "../kit/tool.ts";

const folder = temporaryFolder();
const node = (n: number): string => encodeNodeId(new Uint8Array(32).fill(n));
const [A, B, C] = [node(1), node(2), node(3)];
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** Runs a subcommand on a database of its own. */
function on(name: string) {
  const path = join(folder, `${name}.sqlite`);
  const run = (args: string[], options: { input?: string } = {}) =>
    runTool(["ban", args[0], "--network", "local", "--db", path, ...args.slice(1)], options);
  const list = async () => JSON.parse((await run(["list", "--json"])).out).bans as Record<string, unknown>[];
  return { path, run, list };
}

test("ban add, list, remove: for ever and for a time, several at once, in text and JSON", async () => {
  const { run, list, path } = on("round");
  const added = await run(["add", A, B, "--for", "7d", "--reason", "too\tloud", "--by", "ops", "--json"]);
  assert.equal(added.status, 0, added.err);
  const report = JSON.parse(added.out);
  assert.deepEqual([report.schema, report.action, report.network, report.database], [
    "stellar-overlay/ban/1",
    "add",
    "local",
    path,
  ]);
  assert.deepEqual([report.dryRun, report.counts, report.bans, report.runningNodes], [false, { added: 2 }, 2, []]);
  assert.match(report.at, ISO);
  const [row] = report.changes;
  assert.deepEqual([row.nodeId, row.change, row.reason, row.by, row.before], [A, "added", "too\tloud", "ops", null]);
  assert.equal(Date.parse(row.until) - Date.parse(row.createdAt) <= 7 * 86_400_000, true);

  const kept = await run(["add", A, "--for", "1h"]);
  assert.match(kept.out, /stays banned until .*as before: too\\x09loud\n1 kept; .*\na ban is never made shorter/);
  const changed = await run(["add", A]);
  assert.match(
    changed.out,
    /is banned for ever, not only until .*\n1 changed; 2 bans in database .*\nno node runs with/,
  );

  const rows = await list();
  assert.deepEqual(rows.map((ban) => ban.nodeId), [B, A]);
  assert.ok(Number(rows[0].leftMs) > 6.9 * 86_400_000 && rows[1].leftMs === null && rows[1].until === null);
  const table = await run(["list"]);
  assert.deepEqual(table.out.split("\n")[0].split("\t"), ["node", "left", "reason", "by", "until", "since"]);
  assert.match(table.out, new RegExp(`^${B}\\t7 days\\ttoo\\\\x09loud\\tops\\t`, "m"));

  const removed = await run(["remove", A, C, "--json"]);
  assert.deepEqual([removed.status, JSON.parse(removed.out).counts], [0, { removed: 1, absent: 1 }]);
  assert.deepEqual((await list()).map((ban) => ban.nodeId), [B]);
});

test("ban export, import: each form comes back whole, and the same list twice changes nothing", async () => {
  const from = on("export");
  await from.run(["add", A, "--until", "2099-01-01", "--reason", 'a "b" # c', "--by", "me"]);
  await from.run(["add", B]);
  const whole = (await from.list()).map(({ leftMs: _, ...ban }) => ban);
  for (const [i, form] of [[], ["--json"], ["--ndjson"]].entries()) {
    const written = await from.run(["export", ...form]);
    const to = on(`import-${i}`);
    const first = await to.run(["import", "-"], { input: written.out });
    assert.match(first.out, /^2 added; 2 bans/m, first.err);
    assert.deepEqual((await to.list()).map(({ leftMs: _, ...ban }) => ban), whole);
    const again = await to.run(["import", "-", "--json"], { input: written.out });
    assert.deepEqual(JSON.parse(again.out).counts, { kept: 2 });
  }
  const file = join(folder, "bans.ndjson");
  const out = await from.run(["export", "--ndjson", "-o", file]);
  assert.deepEqual([out.out, out.err], ["", `2 bans written to ${file}\n`]);
  assert.equal(JSON.parse(readFileSync(file, "utf8").split("\n")[0]).type, "ban");
});

test("ban import: stellar-core's JSON, plain ids, --dry-run, defaults; names of a configuration; a file with one wrong line", async () => {
  const { run, list } = on("lists");
  const core = await run(["import", "-", "--reason", "ours", "--by", "x"], { input: `{"bans": ["${A}"]}` });
  assert.match(core.out, /is banned for ever: ours/);
  const none = await run(["import", "-"], { input: recorded("bans.json") });
  assert.deepEqual([none.status, none.out.split(";")[0]], [0, "nothing to do"]);
  const dry = await run(["import", "-", "--dry-run"], { input: `${A}\n${B} # new\n` });
  assert.match(
    dry.out,
    new RegExp(`${B} would be banned for ever\\ndry run, nothing is changed: 1 kept, 1 added; 1 ban in`),
  );
  const wrong = await run(["import", "-"], { input: `${B}\n${C.slice(0, 50)}\n` });
  assert.equal(wrong.status, 2);
  assert.match(wrong.err, /^error: stdin line 2: 50 characters instead of 56\n {2}hint: /);
  assert.equal((await list()).length, 1);

  const config = join(folder, "core.cfg");
  const secret = encodeSecretSeed(new Uint8Array(32).fill(9));
  writeFileSync(
    config,
    `NETWORK_PASSPHRASE="${LOCAL.passphrase}"\nNODE_SEED="${secret} self"\nNODE_NAMES=["${B} evil"]\nPREFERRED_PEER_KEYS=["${C}"]\n`,
  );
  const named = await run(["add", "$evil", "$self", C, "--config", config]);
  assert.equal(named.status, 0, named.err);
  assert.match(
    named.err,
    /^warning: G[A-Z2-7]{55} is the node of .*core\.cfg itself; a ban goes before everything else$/m,
  );
  assert.match(named.err, new RegExp(`^warning: ${C} is one of the PREFERRED_PEER_KEYS of .*core\\.cfg`, "m"));
  assert.deepEqual((await list()).length, 4);
  assert.ok(!(named.out + named.err).includes(secret.slice(0, 20)));
});

test("ban remove --all asks: with nobody to ask it wants --yes; --dry-run only tells", async () => {
  const { run, list } = on("all");
  await run(["add", A, B]);
  const refused = await run(["remove", "--all"]);
  assert.deepEqual([refused.status, (await list()).length], [2, 2]);
  assert.match(refused.err, /nobody can be asked here\n {2}hint: add --yes/);
  const dry = await run(["remove", "--all", "--dry-run"]);
  assert.match(dry.out, /would be banned no more\n.*dry run, nothing is changed: 2 lifted/s);
  assert.equal((await run(["remove", "--all", "--yes"])).status, 0);
  assert.deepEqual(await list(), []);
});

test("ban: wrong usage ends with status 2 and a sentence, and makes no database", async () => {
  const { run, path } = on("wrong");
  const wrong: [string[], RegExp][] = [
    [["add"], /no node is named\n {2}hint: give node ids/],
    [["add", "x"], /node: 1 characters instead of 56/],
    [["add", A, A.slice(0, 55) + (A[55] === "A" ? "B" : "A")], /node 2: the checksum does not fit/],
    [["add", A, "--for", "soon"], /write seconds, or a number with ms, s, m, h or d/],
    [["add", A, "--for", "0"], /--for: a time above zero/],
    [["add", A, "--for", "1d", "--until", "2099-01-01"], /--for and --until exclude each other/],
    [["add", A, "--until", "tomorrow"], /--until: no time such as/],
    [["add", A, "--until", "2020-01-01"], /--until .*: that time has passed/],
    [["add", A, "--reason", "x".repeat(501)], /at most 500 characters/],
    [["remove"], /no node is named/],
    [["remove", A, "--all"], /--all lifts every ban: name no nodes beside it/],
    [["export", "--json", "--ndjson"], /exclude each other/],
    [["import"], /missing required argument/],
    [["list", "--via", "ftp://x"], /--via and --db exclude each other/],
  ];
  for (const [args, message] of wrong) {
    const { status, out, err } = await run(args);
    assert.equal(status, 2, `${args}: ${err}`);
    assert.match(err, message);
    assert.equal(out, "");
  }
  assert.equal(existsSync(path), false);
  const bare = await runTool(["ban"]);
  assert.equal(bare.status, 2);
  assert.match(bare.err, /add \[options\][\s\S]*export/);
  const missing = await run(["import", join(folder, "none.txt")]);
  assert.match(missing.err, /cannot read .*none\.txt: ENOENT \(file_unreadable\)/);
});

test("ban list: no database yet is an empty list, and none is made", async () => {
  const { run, list, path } = on("none");
  assert.deepEqual(await list(), []);
  const { status, out, err } = await run(["list"]);
  assert.deepEqual([status, out], [0, "node\tleft\treason\tby\tuntil\tsince\n"]);
  assert.match(err, /^no bans: database .*none\.sqlite of local is not there yet\n$/);
  assert.match((await run(["export"])).out, /^# 0 bans of database/);
  assert.match((await run(["add", A, "--dry-run"])).out, /would be banned/);
  assert.equal(existsSync(path), false);
});

test("ban: a database of another network, of a later version, or locked by another process", async () => {
  const { run, path } = on("states");
  await run(["add", A]);
  const other = await runTool(["ban", "list", "--network", "testnet", "--db", path]);
  assert.equal(other.status, 1);
  assert.match(other.err, /it belongs to network 'Standalone.*\n {2}hint: choose the network with --network/);
  // A file says itself which network it is of.
  assert.match((await runTool(["ban", "list", "--db", path])).out, new RegExp(A));

  const db = await openNodeDatabase(path, { networkPassphrase: LOCAL.passphrase });
  try {
    db.exec("BEGIN IMMEDIATE");
    const [locked, read] = await Promise.all([run(["add", B]), run(["list"])]);
    assert.equal(locked.status, 1);
    assert.match(
      locked.err,
      /another process keeps it locked \(db_failed\)\n {2}hint: another process has written for/,
    );
    // Who only reads does not wait.
    assert.match(read.out, new RegExp(A));
    db.exec("ROLLBACK");
    assert.equal((await run(["add", B])).status, 0);
    db.exec(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
  } finally {
    db.close();
  }
  for (const args of [["list"], ["add", C]]) {
    const newer = await run(args);
    assert.equal(newer.status, 1);
    assert.match(
      newer.err,
      /has schema \d+; this version reads up to \d+ \(db_newer_schema\)\n {2}hint: update stellar-overlay/,
    );
  }
});

test("ban import: interrupted while it reads, or killed, it has stored nothing; a new start does all", async () => {
  const { run, list, path } = on("interrupted");
  const ids = Array.from({ length: 200 }, (_, n) => encodeNodeId(new Uint8Array(32).fill(1).fill(n, 1)));
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    const [command, leading] = toolCommand();
    const args = ["ban", "import", "-", "--network", "local", "--db", path];
    const child = spawn(command, [...leading, ...args], { stdio: ["pipe", "pipe", "pipe"] });
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    await new Promise<void>((resolve, reject) => {
      child.stdin.write(ids.slice(0, 100).join("\n") + "\n", (error) => error ? reject(error) : resolve());
    });
    child.stdin.on("error", () => {});
    // Not child.kill: Deno ends the input with it, and then the list is one of a hundred bans.
    const again = setInterval(() => process.kill(child.pid!, signal), 300);
    assert.notEqual(await ended, 0);
    clearInterval(again);
    assert.equal(existsSync(path) ? (await list()).length : 0, 0);
  }
  const done = await run(["import", "-", "--json"], { input: ids.join("\n") });
  assert.deepEqual(JSON.parse(done.out).counts, { added: 200 });
});

/** A stellar-core with bans and connected peers, over the recorded answers of a real one. */
function coreWithBans(connected: string[]): { bans: Set<string>; answer: (request: CoreRequest) => string } {
  const bans = new Set<string>(), peers = new Set(connected), other = recordedNode();
  const answer = (request: CoreRequest): string => {
    const id = request.query.get("node") ?? "";
    switch (request.command) {
      case "bans":
        return `${JSON.stringify({ bans: bans.size === 0 ? null : [...bans] }, null, 3)}\n`;
      case "droppeer":
        if (!peers.delete(id)) return `Peer ${id} not found`;
        if (request.query.get("ban") === "1") bans.add(id);
        return `Drop and ban peer: ${id}`;
      case "unban":
        bans.delete(id);
        return `Unban peer: ${id}`;
      case "peers": {
        const document = JSON.parse(recorded("peers-fullkeys-true.json"));
        const [sample] = [
          ...document.authenticated_peers.inbound ?? [],
          ...document.authenticated_peers.outbound ?? [],
        ];
        document.authenticated_peers = { inbound: [...peers].map((id) => ({ ...sample, id })), outbound: null };
        return JSON.stringify(document);
      }
      default:
        return other(request) as string;
    }
  };
  return { bans, answer };
}

test("ban --via: a stellar-core's own list; only a connected peer can be banned, and the text says so", async () => {
  const core = coreWithBans([A, B, RECORDED_SELF]);
  await using server = await new CoreHttpServer(core.answer).open();
  const run = (...args: string[]) => runTool(["ban", args[0], "--via", server.url, ...args.slice(1)]);
  const dry = await run("add", A, C, "--dry-run");
  assert.equal(dry.status, 3, dry.err);
  assert.match(dry.out, /would be banned for ever\n.* could not be banned: that node has no connection/);
  const added = await run("add", A, C);
  assert.equal(added.status, 3);
  assert.match(
    added.out,
    new RegExp(`^${A} is banned for ever\\n${C} is not banned: that node has no connection with it now`),
  );
  assert.match(added.out, /a stellar-core bans only a peer that is connected/);
  assert.deepEqual([...core.bans], [A]);
  assert.ok(server.requests.includes(`droppeer?node=${A}&ban=1`));
  const again = await run("add", A, "--json");
  assert.deepEqual([again.status, JSON.parse(again.out).changes[0].change, JSON.parse(again.out).via], [
    0,
    "kept",
    server.url,
  ]);
  assert.equal((await run("add", C)).status, 1);
  assert.match((await run("add", RECORDED_SELF)).err, /is this stellar-core itself/);

  const listed = JSON.parse((await run("list", "--json")).out);
  assert.deepEqual(listed.bans.map((ban: { nodeId: string }) => ban.nodeId), [A, RECORDED_SELF]);
  assert.deepEqual([listed.database, listed.bans[0].createdAt, listed.bans[0].until], [null, null, null]);
  // From a stellar-core into a database.
  const { list, run: local } = on("from-core");
  await local(["import", "-"], { input: (await run("export")).out });
  assert.deepEqual((await list()).map((ban) => ban.nodeId).sort(), [A, RECORDED_SELF].sort());

  const removed = await run("remove", A, B);
  assert.match(
    removed.out,
    new RegExp(`^${A} is banned no more\\n${B} is not banned\\n1 lifted, 1 not banned; 1 ban in the stellar-core`),
  );
  assert.equal((await run("remove", "--all", "--yes")).status, 0);
  assert.equal(core.bans.size, 0);

  for (const [flag, value] of [["--for", "1h"], ["--until", "2099-01-01"], ["--reason", "x"]]) {
    const timed = await run("add", A, flag, value);
    assert.equal(timed.status, 2);
    assert.match(timed.err, /a stellar-core bans for ever and keeps no reason/);
  }
  const other = await run("list", "--network", "pubnet");
  assert.match(other.err, /the stellar-core at .* is of network '.*', not of pubnet/);
  assert.equal(other.status, 2);
});

test("ban --via: an endpoint that is not there, or lies about what it did", async () => {
  const core = coreWithBans([A]);
  await using server = await new CoreHttpServer((request) => {
    if (request.command === "droppeer") return `Drop and ban peer: ${request.query.get("node")}`;
    return core.answer(request);
  }).open();
  const lied = await runTool(["ban", "add", A, "--via", server.url]);
  assert.equal(lied.status, 1);
  assert.match(lied.out, /failed: the node said it banned it, but it does not stand in bans/);
  const url = server.url;
  await server.close();
  const gone = await runTool(["ban", "list", "--via", url]);
  assert.equal(gone.status, 1);
  assert.match(gone.err, /no connection to http:.*\(core_unreachable\)/);
});

test("ban --help says what it does, with examples", async () => {
  for (const args of [["ban"], ["ban", "add"], ["ban", "import"]]) {
    const { status, out } = await runTool([...args, "--help"]);
    assert.equal(status, 0);
    assert.match(out, /Examples:\n {2}stellar-overlay ban add|curl -s/);
    assert.match(out, /Exit status:/);
    for (const line of out.split("\n")) assert.ok(line.length <= 120, line);
  }
  const tool = startTool(["--help"]);
  assert.match((await tool.done).out, /^ {2}ban +Keep nodes out/m);
});
