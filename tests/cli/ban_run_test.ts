/**
 * A ban made by a third process while two nodes are connected over real TCP: the drop in both logs, what a restart does not
 * forget, and the return when the time is over. All times are those of the nodes' own logs, on the one clock of this machine.
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { type LogLine, type RunningNode, startNode, until } from "../kit/node_tool.ts";
import { runTool, temporaryFolder } from "../kit/tool.ts";

const folder = temporaryFolder();
/** Period of the status lines that show how late a node's timers are, ms. */
const STATUS_MS = 100;
const STATUS = ["--status", `${STATUS_MS}ms`];

const at = (line: { at: string }): number => Date.parse(line.at);

/** How much later than asked for the timers of a node fired between two instants, at worst: its share of a busy machine. */
function latenessOf(node: RunningNode, fromMs: number, toMs: number): number {
  const times = node.lines().filter((line) => line.type === "status").map(at)
    .filter((ms) => ms >= fromMs - 1000 && ms <= toMs + 1000);
  return Math.max(0, ...times.slice(1).map((ms, i) => ms - times[i] - STATUS_MS));
}

/** Runs `ban` on a database and gives its document. */
async function ban(path: string, args: string[]) {
  const { status, out, err } = await runTool([
    "ban",
    args[0],
    "--network",
    "local",
    "--db",
    path,
    "--json",
    ...args.slice(1),
  ]);
  assert.equal(status, 0, err);
  return JSON.parse(out);
}

function start(args: string[]): Promise<RunningNode> {
  return startNode([...STATUS, ...args], { noDatabase: false, limitMs: 100_000 });
}

const isDrop = (nodeId: string, reason?: string) => (line: LogLine) =>
  line.type === "dropped" && line.nodeId === nodeId && (reason === undefined || line.reason === reason);

test("ban add while run is connected: dropped within a second, out after a restart, back when the time is over", async () => {
  const path = join(folder, "a.sqlite"), seed = join(folder, "b.seed");
  let a = await start(["--db", path]);
  const startB = () => start(["--no-db", "--seed-file", seed, "--new-seed", "--peer", a.address]);
  let b = await startB();
  const bId = b.nodeId, aAddress = a.address;
  const isB = (line: LogLine) => line.type === "authenticated" && line.nodeId === bId;
  await a.line(isB, "b");
  await b.line((line) => line.type === "authenticated" && line.nodeId === a.nodeId, "a");

  // For ever, to begin with: nothing below depends on how fast this machine is.
  const report = await ban(path, ["add", bId, "--reason", "proof"]);
  assert.deepEqual(report.runningNodes.map((row: { nodeId: string; here: boolean }) => [row.nodeId, row.here]), [
    [a.nodeId, true],
  ]);
  const banned = await a.line((line) => line.type === "banned" && line.nodeId === bId, "banned");
  assert.deepEqual([banned.reason, banned.untilAt], ["proof", null]);
  const left = await a.line(isDrop(bId, "dropped by user"), "a drops b");
  const thrown = await b.line(isDrop(a.nodeId), "b is dropped");
  assert.deepEqual([left.by, thrown.by, thrown.reason], ["us", "remote", "ERR_MISC (dropped by user)"]);
  const committedMs = at(report), seenMs = Math.max(at(left), at(thrown));
  await until(() => a.lines().some((line) => line.type === "status" && at(line) > seenMs));
  const lateMs = latenessOf(a, committedMs, seenMs) + latenessOf(b, committedMs, seenMs);
  assert.ok(
    seenMs - committedMs <= 1000 + lateMs,
    `dropped ${seenMs - committedMs} ms after ban add, on a machine that made timers ${lateMs} ms late`,
  );
  assert.equal(await b.stop(), 0);
  assert.equal(await a.stop(), 0);

  // A restart forgets nothing, whoever dials.
  a = await start(["--db", path, "--listen", aAddress]);
  assert.equal(a.lines()[0].bans, 1);
  b = await startB();
  const refused = await a.line(isDrop(bId, "node is banned"), "b is refused at its HELLO");
  assert.equal(refused.by, "us");
  const closed = await b.line((line) => line.type === "dropped", "b is closed without a word");
  assert.deepEqual([closed.by, closed.nodeId, closed.code], ["remote", null, "silent_close"]);
  assert.equal(a.lines().filter(isB).length, 0);
  assert.equal(b.lines().filter((line) => line.type === "authenticated").length, 0);
  assert.equal(await b.stop(), 0);

  // Lifted, and made anew for a time: it ends by itself, and b is admitted again.
  const lifted = await ban(path, ["remove", bId]);
  assert.deepEqual(lifted.counts, { removed: 1 });
  await a.line((line) => line.type === "unbanned" && line.nodeId === bId && line.expired === false, "unbanned");
  const { changes: [timed] } = await ban(path, ["add", bId, "--for", "3s"]);
  const over = await a.line((line) => line.type === "unbanned" && line.nodeId === bId && line.expired === true, "over");
  assert.ok(at(over) >= Date.parse(timed.until), `over at ${over.at}, not before ${timed.until}`);
  b = await startB();
  const back = await a.line(isB, "b is back");
  assert.ok(at(back) >= Date.parse(timed.until));
  assert.deepEqual([await b.stop(), await a.stop()], [0, 0]);
  assert.deepEqual((await ban(path, ["list"])).bans, []);
});

test("ban add --for: the ban of a connected node outlives a restart, and ends at its instant although nobody touches it", async () => {
  const path = join(folder, "timed.sqlite"), seed = join(folder, "c.seed");
  // On a busy machine a restart may take longer than the ban: then it is tried with a longer one.
  for (const seconds of [4, 15, 50]) {
    let a = await start(["--db", path]);
    const b = await start(["--no-db", "--seed-file", seed, "--new-seed", "--peer", a.address]);
    await a.line((line) => line.type === "authenticated" && line.nodeId === b.nodeId, "b");
    const { changes: [row] } = await ban(path, ["add", b.nodeId, "--for", `${seconds}s`]);
    await a.line(isDrop(b.nodeId, "dropped by user"), "dropped");
    await b.line(isDrop(a.nodeId), "dropped");
    const address = a.address;
    await Promise.all([a.stop("SIGKILL"), b.stop()]);
    a = await start(["--db", path, "--listen", address]);
    const [starting] = a.lines();
    if (starting.bans === 0) {
      await a.stop();
      continue;
    }
    const again = await start(["--no-db", "--seed-file", seed, "--peer", address]);
    const over = await a.line((line) => line.type === "unbanned" && line.nodeId === b.nodeId, "over");
    assert.ok(over.expired === true && at(over) >= Date.parse(row.until));
    // Whatever came before was refused.
    const admitted = () => a.lines().filter((line) => line.type === "authenticated" && line.nodeId === b.nodeId);
    assert.deepEqual(admitted().filter((line) => at(line) < Date.parse(row.until)), []);
    const last = await start(["--no-db", "--seed-file", seed, "--peer", address]).then((node) => {
      return a.line((line) => line.type === "authenticated" && line.nodeId === b.nodeId, "back").then(() => node);
    });
    await Promise.all([a.stop(), again.stop(), last.stop()]);
    return;
  }
  assert.fail("no restart was faster than 50 seconds");
});
