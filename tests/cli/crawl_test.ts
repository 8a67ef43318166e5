/** `crawl` and `simulate` through the program, over real TCP: results, streams, exit status, interruption, resume. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { rawServer } from "../kit/fake_node.ts";
import { type RunningTool, runTool, startTool, temporaryFolder } from "../kit/tool.ts";

interface NodeRow {
  nodeId: string;
  addresses: string[];
  state: string;
  code: string | null;
  versionStr: string | null;
  overlayVersion: number | null;
  validating: boolean | null;
  lagMs: number | null;
  advertises: string[];
}
interface Document {
  schema: string;
  run: {
    complete: boolean;
    interrupted: boolean;
    seeds: string[];
    counts: Record<string, number>;
    limitsHit: string[];
    options: Record<string, unknown>;
  };
  budget: { limits: Record<string, number>; used: Record<string, number> };
  nodes: NodeRow[];
  addresses: {
    address: string;
    state: string;
    code: string | null;
    outcomes: { state: string; code: string | null; attempt: number }[];
  }[];
  edges: { from: string; to: string; kind: string }[];
}
interface Truth {
  nodes:
    (Pick<NodeRow, "nodeId" | "addresses" | "state" | "versionStr" | "overlayVersion" | "validating" | "advertises">)[];
  addresses: { address: string; state: string; code: string | null }[];
  edges: Document["edges"];
}

/** Silent nodes make a crawl wait; on this machine a second is long. */
const QUICK = ["--timeout", "1500ms"];

/** A twin in a process of its own. */
async function startTwin(...args: string[]): Promise<{ run: RunningTool; seeds: string[]; truth: () => Truth }> {
  const truthFile = join(temporaryFolder(), "truth.json");
  const port = String(20_000 + (process.pid % 9_000));
  const run = startTool(["simulate", "--json", "--truth", truthFile, "--port", port, ...args], { limitMs: 170_000 });
  let seeds: string[] | undefined;
  const deadline = Date.now() + 60_000;
  while (seeds === undefined) {
    try {
      const document = JSON.parse(run.out());
      assert.equal(document.schema, "stellar-overlay/simulate/1");
      seeds = document.seeds as string[];
    } catch (error) {
      if (Date.now() > deadline) throw new Error(`the twin did not start: ${error}\n${run.out()}\n${run.err()}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return { run, seeds, truth: () => JSON.parse(readFileSync(truthFile, "utf8")) };
}

/** Compares a crawl with what a perfect one finds. */
function assertTruth(found: Document, truth: Truth, options: { validating: boolean }): void {
  const node = (row: Truth["nodes"][number]) => ({
    nodeId: row.nodeId,
    addresses: [...row.addresses].sort(),
    state: row.state,
    versionStr: row.versionStr,
    overlayVersion: row.overlayVersion,
    advertises: [...row.advertises].sort(),
    ...(options.validating && row.state !== "other-network" ? { validating: row.validating ?? false } : {}),
  });
  const byId = (a: { nodeId: string }, b: { nodeId: string }) => (a.nodeId < b.nodeId ? -1 : 1);
  assert.deepEqual(found.nodes.map(node).sort(byId), truth.nodes.map(node).sort(byId));
  const address = (row: { address: string; state: string; code: string | null }) =>
    `${row.address} ${row.state} ${row.code ?? ""}`;
  assert.deepEqual(found.addresses.map(address).sort(), truth.addresses.map(address).sort());
  const edge = (row: Document["edges"][number]) => `${row.from} ${row.kind} ${row.to}`;
  assert.deepEqual(found.edges.map(edge).sort(), truth.edges.map(edge).sort());
}

describe("crawl: a 60-node network on loopback addresses", () => {
  let twin: Awaited<ReturnType<typeof startTwin>>;
  const folder = temporaryFolder();
  before(async () =>
    void (twin = await startTwin("--nodes", "60", "--seed", "11", "--topology", "random", "--ledger-ms", "1000"))
  );
  after(async () => {
    twin.run.signal("SIGTERM");
    assert.equal((await twin.run.done).status, 0, "SIGTERM ends a simulation in order");
  });
  const crawl = (...args: string[]) =>
    runTool(["crawl", ...twin.seeds, "--network", "local", "--db", join(folder, "crawl.sqlite"), ...QUICK, ...args]);

  test("--json is one document that equals the truth, with consensus observed", async () => {
    const { status, out, err } = await crawl("--json", "--listen", "5", "--listen-nodes", "4");
    assert.equal(status, 0, err);
    assert.equal(err, "", "nothing on stderr when it is no terminal");
    const document: Document = JSON.parse(out);
    assert.equal(document.schema, "stellar-overlay/crawl/1");
    assert.ok(document.run.complete && !document.run.interrupted);
    assertTruth(document, twin.truth(), { validating: true });
    assert.ok(document.nodes.some((node) => node.validating && node.lagMs !== null));
    assert.ok(
      document.budget.used.dials > 0 && document.budget.used.peakConcurrency <= document.budget.limits.concurrency,
    );
  });

  test("--ndjson is one line per visit, each with a type, and a last one with the run", async () => {
    const { status, out } = await crawl("--ndjson");
    assert.equal(status, 0);
    const lines = out.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.equal(lines.at(-1).type, "run");
    assert.ok(lines.length > 60 && lines.slice(0, -1).every((line) => line.type === "visit"));
  });

  test("text on a pipe is plain rows with full values, without colour or progress", async () => {
    const { status, out, err } = await crawl();
    assert.equal(status, 0);
    assert.equal(err, "");
    assert.ok(!out.includes("\x1b") && out.includes("\treachable\t"));
    assert.match(out, /address-book entries told in PEERS, not connections/);
    assert.match(out, /budget +\d+ dials/);
  });

  test("--out writes the document beside the summary; --from reads it back as seeds", async () => {
    const file = join(folder, "crawl.json");
    const first = await crawl("--out", file);
    assert.equal(first.status, 0);
    assert.match(first.out, /nodes of local/);
    const document: Document = JSON.parse(readFileSync(file, "utf8"));
    const again = await runTool(["crawl", "--from", file, "--network", "local", "--no-db", "--json", ...QUICK]);
    assert.equal(JSON.parse(again.out).nodes.length, document.nodes.length);
  });

  test("the database's nodes are seeds when none are given", async () => {
    await crawl("--json");
    const { status, out } = await runTool([
      "crawl",
      "--network",
      "local",
      "--db",
      join(folder, "crawl.sqlite"),
      "--json",
    ]);
    assert.equal(status, 0);
    assertTruth(JSON.parse(out), twin.truth(), { validating: false });
  });

  test("a stellar-core configuration gives seeds and network", async () => {
    const config = join(folder, "stellar-core.cfg");
    writeFileSync(
      config,
      `NETWORK_PASSPHRASE="Standalone Network ; February 2017"\nKNOWN_PEERS=[${
        twin.seeds.map((seed) => `"${seed}"`).join(",")
      }]\n`,
    );
    const { status, out, err } = await runTool(["crawl", "--config", config, "--no-db", "--json", ...QUICK]);
    assert.equal(status, 0, err);
    assert.equal(JSON.parse(out).nodes.length, twin.truth().nodes.filter((node) => node.addresses.length > 0).length);
  });

  test("--for-config prints KNOWN_PEERS lines that stellar-core reads", async () => {
    const { out } = await crawl("--for-config");
    assert.match(out, /^# .*\nKNOWN_PEERS=\[\n( {2}"127\.[\d.]+:\d+", # G[A-Z2-7]{55}.*\n)+\]\n$/);
  });

  test("a limit of the budget ends it with status 3, says which, and --resume completes the crawl", async () => {
    const db = join(folder, "limited.sqlite");
    const limited = await runTool([
      "crawl",
      ...twin.seeds,
      "--network",
      "local",
      "--db",
      db,
      "--max-dials",
      "9",
      "--json",
    ]);
    assert.equal(limited.status, 3);
    assert.match(limited.err, /maxDials/);
    assert.deepEqual(JSON.parse(limited.out).run.limitsHit, ["maxDials"]);
    const resumed = await runTool(["crawl", "--network", "local", "--db", db, "--resume", "--json", ...QUICK]);
    assert.equal(resumed.status, 0, resumed.err);
    assertTruth(JSON.parse(resumed.out), twin.truth(), { validating: false });
  });

  test("Ctrl-C prints what is known with 130; --resume completes the same crawl", async () => {
    const db = join(folder, "interrupted.sqlite");
    const run = startTool(["crawl", ...twin.seeds, "--network", "local", "--db", db, "--json", "--listen", "30"]);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    run.signal("SIGINT");
    const { status, out, err } = await run.done;
    assert.equal(status, 130, err);
    const partial: Document = JSON.parse(out);
    assert.ok(partial.run.interrupted && partial.nodes.length > 0);
    assert.match(err, /--resume/);
    const resumed = await runTool(["crawl", "--network", "local", "--db", db, "--resume", "--json", ...QUICK]);
    assert.equal(resumed.status, 0, resumed.err);
    assertTruth(JSON.parse(resumed.out), twin.truth(), { validating: false });
  });

  test("a crawl that is going cannot be resumed by another process; its settings survive a resume", async () => {
    const db = join(folder, "owned.sqlite");
    const run = startTool([
      "crawl",
      ...twin.seeds,
      "--network",
      "local",
      "--db",
      db,
      "--json",
      "--listen",
      "3",
      "--listen-nodes",
      "4",
      "--rate",
      "5",
    ]);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    const other = await runTool(["crawl", "--network", "local", "--db", db, "--resume", "--json"]);
    assert.equal(other.status, 1);
    assert.match(other.err, /run_in_progress/);
    run.signal("SIGINT");
    assert.equal((await run.done).status, 130);
    const resumed = await runTool([
      "crawl",
      "--network",
      "local",
      "--db",
      db,
      "--resume",
      "--json",
      ...QUICK,
      "--rate",
      "1000",
    ]);
    assert.equal(resumed.status, 0, resumed.err);
    const document: Document = JSON.parse(resumed.out);
    assert.equal(document.run.options.listenMs, 3000);
    assert.equal(document.run.options.listenNodes, 4);
    assertTruth(document, twin.truth(), { validating: true });
  });

  test("a crawl that began from the database is resumed from it; seeds and --resume exclude each other", async () => {
    const db = join(folder, "known.sqlite");
    await runTool(["crawl", ...twin.seeds, "--network", "local", "--db", db, "--json", ...QUICK]);
    const run = startTool(["crawl", "--network", "local", "--db", db, "--json", "--rate", "5"]);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    run.signal("SIGINT");
    assert.equal((await run.done).status, 130);
    const resumed = await runTool([
      "crawl",
      "--network",
      "local",
      "--db",
      db,
      "--resume",
      "--json",
      ...QUICK,
      "--rate",
      "1000",
    ]);
    assert.equal(resumed.status, 0, resumed.err);
    assertTruth(JSON.parse(resumed.out), twin.truth(), { validating: false });
    const both = await runTool(["crawl", ...twin.seeds, "--network", "local", "--db", db, "--resume"]);
    assert.equal(both.status, 2);
  });

  test("kill -9 loses at most the visits in flight", async () => {
    const db = join(folder, "killed.sqlite");
    const run = startTool(["crawl", ...twin.seeds, "--network", "local", "--db", db, "--ndjson", "--listen", "30"]);
    await run.saw(/"type":"visit"[\s\S]*"type":"visit"[\s\S]*"type":"visit"/);
    run.signal("SIGKILL");
    const { out } = await run.done;
    const reported = out.split("\n").filter((line) => line.endsWith("}")).map((line) => JSON.parse(line).address);
    const resumed = await runTool(["crawl", "--network", "local", "--db", db, "--resume", "--json", ...QUICK]);
    assert.equal(resumed.status, 0, resumed.err);
    const document: Document = JSON.parse(resumed.out);
    assertTruth(document, twin.truth(), { validating: false });
    const visited = new Map(document.addresses.map((row) => [row.address, row.outcomes.length]));
    for (const address of reported) assert.ok(visited.get(address)! >= 1, `${address} was reported and is kept`);
  });
});

test("crawl: a 300-node network over real TCP equals the truth", async () => {
  const twin = await startTwin("--nodes", "300", "--seed", "5", "--topology", "tiered", "--ledger-ms", "2000");
  try {
    const { status, out, err } = await runTool([
      ...["crawl", ...twin.seeds, "--network", "local", "--no-db", "--json", ...QUICK],
      ...["--concurrency", "100", "--rate", "1000", "--listen", "8", "--listen-nodes", "6"],
    ], { limitMs: 120_000 });
    assert.equal(status, 0, err);
    assertTruth(JSON.parse(out), twin.truth(), { validating: true });
  } finally {
    twin.run.signal("SIGTERM");
    await twin.run.done;
  }
});

test("crawl: no usable seed is an error of its own, status 4", async () => {
  const { status, out, err } = await runTool(["crawl", "--network", "local", "--no-db"]);
  assert.equal(status, 4);
  assert.equal(out, "");
  assert.match(err, /no_seeds[\s\S]*hint: /);
});

test("crawl: a private seed is not dialed without --allow-private, and the hint says so", async () => {
  const { status, err } = await runTool(["crawl", "10.0.0.1", "--network", "local", "--no-db"]);
  assert.equal(status, 4);
  assert.match(err, /--allow-private/);
});

test("crawl: nothing reached is status 1, with the result", async () => {
  const server = await rawServer(() => {});
  await server[Symbol.asyncDispose]();
  const { status, out } = await runTool([
    "crawl",
    server.address,
    "--network",
    "local",
    "--no-db",
    "--json",
    "--retries",
    "0",
  ]);
  assert.equal(status, 1);
  assert.equal(JSON.parse(out).addresses[0].outcomes[0].code, "connect_refused");
});

test("crawl: nothing to resume is an error that says what to do", async () => {
  const { status, err } = await runTool([
    "crawl",
    "--network",
    "local",
    "--resume",
    "--db",
    join(temporaryFolder(), "x.sqlite"),
  ]);
  assert.equal(status, 1);
  assert.match(err, /nothing_to_resume[\s\S]*without --resume/);
});

test("crawl: a database that is none is left alone", async () => {
  const path = join(temporaryFolder(), "notes.txt");
  writeFileSync(path, "these are my notes\n".repeat(100));
  const { status, err } = await runTool(["crawl", "127.0.0.1:1", "--network", "local", "--db", path]);
  assert.equal(status, 1);
  assert.match(err, /db_failed/);
  assert.match(readFileSync(path, "utf8"), /^these are my notes/);
});

test("crawl: an older --out file survives a crawl that cannot begin, and a full disk does not cost the result", async () => {
  const file = join(temporaryFolder(), "crawl.json");
  writeFileSync(file, "older");
  const none = await runTool(["crawl", "--network", "local", "--no-db", "--out", file]);
  assert.equal(none.status, 4);
  assert.equal(readFileSync(file, "utf8"), "older");
  const full = await runTool([
    "crawl",
    "127.0.0.1:1",
    "--network",
    "local",
    "--no-db",
    "--json",
    "--retries",
    "0",
    "--out",
    "/dev/full",
  ]);
  assert.equal(full.status, 1);
  assert.equal(JSON.parse(full.out).addresses.length, 1);
  assert.match(full.err, /file_unwritable/);
});

test("crawl: an unwritable --out is told before anything is dialed", async () => {
  const { status, out, err } = await runTool([
    "crawl",
    "127.0.0.1:1",
    "--network",
    "local",
    "--no-db",
    "--out",
    "/no/such/folder/x.json",
  ]);
  assert.equal(status, 1);
  assert.equal(out, "");
  assert.match(err, /file_unwritable/);
});

test("the tool: a reader that closes the pipe ends it with 0", async () => {
  const { toolCommand } = await import("../kit/tool.ts");
  const { spawnSync } = await import("node:child_process");
  const [command, leading] = toolCommand();
  const line = [command, ...leading, "help", "crawl"].map((word) => `'${word}'`).join(" ");
  const result = spawnSync("bash", [
    "-c",
    `set -o pipefail; for i in 1 2 3; do ${line} | head -1 >/dev/null || exit 9; done`,
  ], { encoding: "utf8" });
  assert.equal(result.status, 0, result.stderr);
});

test("the tool: --version prints name and version; help lists the commands and the exit statuses", async () => {
  const version = await runTool(["--version"]);
  assert.match(version.out, /^stellar-overlay \d+\.\d+\.\d+\n$/);
  assert.equal(version.status, 0);
  const help = await runTool(["--help"]);
  assert.equal(help.status, 0);
  for (const word of ["connect", "crawl", "simulate", "Exit status", "130"]) assert.ok(help.out.includes(word), word);
  const none = await runTool([]);
  assert.equal(none.status, 2);
  const wrong = await runTool(["crwal"]);
  assert.equal(wrong.status, 2);
  assert.match(wrong.err, /Did you mean crawl/);
});

test("the binary: runs in an empty folder without node_modules", async () => {
  const { toolCommand } = await import("../kit/tool.ts");
  const [command, leading] = toolCommand();
  if (leading.length > 0 || !existsSync(command)) return;
  const folder = temporaryFolder();
  const { copyFileSync } = await import("node:fs");
  copyFileSync(command, join(folder, "tool"));
  const { spawnSync } = await import("node:child_process");
  const result = spawnSync(join(folder, "tool"), [
    "crawl",
    "127.0.0.1:1",
    "--network",
    "local",
    "--db",
    join(folder, "a.sqlite"),
    "--retries",
    "0",
    "--json",
  ], {
    cwd: folder,
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin", HOME: folder },
  });
  assert.equal(result.status, 1, result.stderr);
  assert.equal(JSON.parse(result.stdout).addresses[0].state, "dead");
});

test("npm run demo: a network starts, is crawled, and the files are there", async () => {
  const { spawnSync } = await import("node:child_process");
  const { ROOT } = await import("../kit/tool.ts");
  const result = spawnSync("node", [join(ROOT, "tests", "tasks", "demo.mjs"), "20"], {
    cwd: ROOT,
    encoding: "utf8",
    timeout: 120_000,
  });
  assert.equal(result.status, 0, result.stdout + result.stderr);
  assert.match(result.stdout, /nodes of local in /);
  for (const file of ["crawl.json", "truth.json", "demo.sqlite"]) assert.ok(existsSync(join(ROOT, "out", file)), file);
  assertTruth(
    JSON.parse(readFileSync(join(ROOT, "out", "crawl.json"), "utf8")),
    JSON.parse(readFileSync(join(ROOT, "out", "truth.json"), "utf8")),
    { validating: false },
  );
});
