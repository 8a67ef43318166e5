/** `watch` through the program, over real TCP on loopback addresses: recorded sessions, a simulated network, and what goes wrong. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { initPrimitives } from "../../overlay/crypto/primitives.ts";
import { openNodeDatabase } from "../../overlay/db/schema.ts";
import { LOCAL } from "../../overlay/base/networks.ts";
import { messageEnumName } from "../../overlay/wire/messages.ts";
import { loadSession } from "../kit/fixtures.ts";
import { type RecordedPeer, startRecordedPeer } from "../kit/recorded_peer.ts";
import { type RunningTool, runTool, startTool, temporaryFolder, toolCommand } from "../kit/tool.ts";

// deno-lint-ignore no-explicit-any
type Line = Record<string, any>;

const folder = temporaryFolder();
const linesOf = (out: string): Line[] => out.trimEnd().split("\n").map((line) => JSON.parse(line));
const wordOf = (bytes: Uint8Array) => messageEnumName(bytes[3]);

function tally(words: Iterable<string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const word of [...words].sort()) counts[word] = (counts[word] ?? 0) + 1;
  return counts;
}

before(() => initPrimitives());

describe("watch: recorded sessions of stellar-core", () => {
  for (const name of ["caller-flood", "accepter", "survey"]) {
    test(`${name}: every message it sent is a line, with a body where one is asked for`, async () => {
      const peer = await startRecordedPeer(loadSession(name));
      try {
        const count = String(peer.messages.length);
        const args = ["watch", peer.address, "--network", "local", "--json", "--decode", "--count", count, "--no-db"];
        const { status, out, err } = await runTool(args);
        assert.equal(status, 0, err);
        const lines = linesOf(out);
        const messages = lines.filter(({ type }) => type === "message");
        assert.deepEqual(tally(messages.map(({ message }) => message)), tally(peer.messages.map(wordOf)));
        for (const line of messages) {
          assert.equal(line.schema, "stellar-overlay/watch/1");
          assert.equal(line.peer, peer.nodeId);
          assert.equal(Object.keys(line.body)[0], line.message.toLowerCase());
        }
        const scp = messages.filter(({ message }) => message === "SCP_MESSAGE");
        assert.ok(scp.length > 0 && scp.every(({ refusal }) => refusal === null));
        const statement = scp.find(({ statement }) => statement === "externalize")!;
        const { slot_index, node_id } = statement.body.scp_message.statement;
        assert.deepEqual([slot_index, node_id], [statement.slot, statement.validator]);
        const summary = lines.at(-1)!;
        assert.equal(summary.type, "summary");
        assert.equal(summary.propagation.scp.distinct, new Set(scp.map(({ id }) => id)).size);
        assert.equal(summary.peers[0].nodeId, peer.nodeId);
        // Nothing was demanded, and nothing but its own business was said.
        assert.ok(!peer.received.includes(19), "FLOOD_DEMAND");
      } finally {
        await peer.close();
      }
    });
  }

  test("the five simultaneous ones: distinct messages as their README counts them, filtered lines, a table, the database", async () => {
    const peers: RecordedPeer[] = [];
    for (let n = 1; n <= 5; n++) peers.push(await startRecordedPeer(loadSession(`watch/peer-${n}`)));
    try {
      const db = join(folder, "five.sqlite");
      const of = (type: number) =>
        peers.flatMap(({ messages }) => messages.filter((bytes) => bytes[3] === type)).length;
      const targets = peers.map(({ nodeId, address }) => `${nodeId}@${address}`);
      const args = ["watch", ...targets, "--network", "local", "--json", "--type", "scp,tx", "--db", db];
      const { status, out, err } = await runTool([...args, "--count", String(of(11) + of(8))]);
      assert.equal(status, 0, err);
      const lines = linesOf(out);
      const { propagation, slots, peers: rows } = lines.at(-1)!;
      assert.deepEqual([propagation.scp.distinct, propagation.scp.complete], [346, 302]);
      assert.deepEqual([propagation.transaction.distinct, propagation.transaction.complete], [318, 314]);
      assert.deepEqual(
        slots.map(({ slot }: Line) => Number(slot)).reverse(),
        Array.from({ length: 21 }, (_, i) => i + 3),
      );
      assert.deepEqual(rows.map(({ state }: Line) => state), Array(5).fill("connected"));
      assert.ok(
        lines.every(({ message }) => message === undefined || ["SCP_MESSAGE", "TRANSACTION"].includes(message)),
      );
      using database = await openNodeDatabase(db, { networkPassphrase: LOCAL.passphrase });
      const spread = database.prepare("SELECT items, complete FROM watch_spread WHERE kind = 'scp'").get()!;
      assert.deepEqual({ ...spread }, { items: 346, complete: 302 });
    } finally {
      await Promise.all(peers.map((peer) => peer.close()));
    }
  });
});

describe("watch: a simulated network", () => {
  let twin: RunningTool, seeds: string[];
  before(async () => {
    const port = String(32_600 + (process.pid % 3000));
    const args = ["--nodes", "6", "--seed", "3", "--topology", "random", "--validators", "3", "--ledger-ms", "500"];
    twin = startTool(["simulate", "--json", "--port", port, ...args], { limitMs: 120_000 });
    await twin.saw(/"seeds": \[[^\]]*\][\s\S]*\n}/);
    seeds = JSON.parse(twin.out()).seeds;
  });
  after(async () => {
    twin.signal("SIGTERM");
    await twin.done;
  });
  const watch = (...args: string[]) => ["watch", "--network", "local", ...args];

  test("lines on a pipe, filters, Ctrl-C: the summary, status 0", async () => {
    const run = startTool(watch(...seeds, "--type", "externalize"));
    await run.saw(/externalize of G\S+ #3 /);
    run.signal("SIGINT");
    const { status, out, err } = await run.done;
    assert.equal(status, 0, err);
    assert.match(out, /^\S+Z \* connected to G/m);
    assert.match(out, /SCP statements; \d+ from all/);
    assert.match(out, /^peer\tcopies\tfirst\tmedian ms behind/m);
    assert.ok(!/ (nominate|prepare|confirm) of G/.test(out));
    // deno-lint-ignore no-control-regex
    assert.ok(!/[\x00-\x08\x0b-\x1f\x7f]/.test(out));
    assert.equal(err, "");
  });

  test("--until-slot ends it; a peer that is down is dialed again, and leaves status 3", async () => {
    const first = await runTool(watch(seeds[0], "--json", "--count", "1", "--type", "scp"));
    const slot = Number(linesOf(first.out).find(({ type }) => type === "message")!.slot);
    const run = await runTool(watch(seeds[0], "127.0.0.1:1", "--json", "--until-slot", String(slot + 4)));
    assert.equal(run.status, 3, run.err);
    const lines = linesOf(run.out);
    assert.ok(lines.some(({ type, code }) => type === "dialFailed" && code === "connect_refused"));
    assert.ok(lines.some(({ type }) => type === "waiting"));
    const summary = lines.at(-1)!;
    assert.ok(summary.ledger >= slot + 4);
    assert.deepEqual(summary.peers.map(({ code }: Line) => code), [null, "connect_refused"]);
  });

  test("nobody reached: status 1 and the reason; the wrong node at an address: dropped", async () => {
    const down = await runTool(watch("127.0.0.1:1", "--for", "300ms", "--quiet"));
    assert.equal(down.status, 1);
    assert.match(down.out, /refused the TCP connection \(connect_refused\)/);
    const other = "GA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJVSGZ";
    const wrong = await runTool(watch(`${other}@${seeds[0]}`, "--for", "1500ms"));
    assert.match(wrong.out, new RegExp(`it is G[A-Z2-7]{55}, not ${other}`));
  });

  test("a reader that has seen enough ends it with status 0", async () => {
    const [command, leading] = toolCommand();
    const args = [...leading, ...watch(seeds[0], "--no-db")].map((arg) => `'${arg}'`).join(" ");
    const child = spawn("bash", ["-c", `set -o pipefail; '${command}' ${args} | head -n 3`], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (out += text));
    const status = await new Promise((resolve) => child.on("close", resolve));
    assert.equal(status, 0);
    assert.equal(out.trimEnd().split("\n").length, 3);
  });

  test("--metrics serves metrics, peers and the watch's own page", async () => {
    const run = startTool(watch(seeds[0], "--quiet", "--metrics", "127.0.0.1:0", "--no-db"));
    await run.saw(/metrics at http:\S+\/\n/);
    const url = /http:\S+/.exec(run.err())![0];
    for (let tries = 0; tries < 200; tries++) {
      const page = await (await fetch(`${url}watch`)).json() as Line;
      if (page.propagation.scp.distinct > 0) break;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const page = await (await fetch(`${url}watch`)).json() as Line;
    assert.equal(page.schema, "stellar-overlay/watch/1");
    assert.ok(page.propagation.scp.distinct > 0);
    assert.match(await (await fetch(`${url}metrics`)).text(), /stellar_overlay_info/);
    run.signal("SIGTERM");
    assert.equal((await run.done).status, 0);
  });

  test("--from-crawl takes the best of a crawl; the flags say what is wrong with them", async () => {
    const file = join(folder, "crawl.json");
    const nodes = seeds.map((address, i) => ({
      state: i === 1 ? "full" : "reachable",
      addresses: [address],
      rttMs: { median: 9 - i },
    }));
    writeFileSync(file, JSON.stringify({ schema: "stellar-overlay/crawl/1", nodes }));
    const { out } = await runTool(watch("--from-crawl", file, "--peers", "1", "--json", "--for", "500ms"));
    const dialed = linesOf(out).filter(({ type }) => type === "dialing").map(({ target }) => target);
    assert.deepEqual([...new Set(dialed)], [seeds.at(-1)]);
    for (
      const [args, text] of [
        [["--type", "nonsense"], "nonsense"],
        [["--peer", "SAAAA"], "--peer takes a node id"],
        [["--slot", "9-3"], "ends before it begins"],
        [["--from-crawl", "--no-db"], "needs the database"],
      ] as const
    ) {
      const { status, err } = await runTool(watch(...args));
      assert.equal(status, 2, err);
      assert.ok(err.includes(text), err);
      assert.ok(!err.includes("SAAAA"));
    }
  });
});
