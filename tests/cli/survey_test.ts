/** `survey` as people use it: the program against a network of whole engines over real TCP. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { readSurvey } from "../../survey/topology/formats.ts";
import { linksOf } from "../../survey/topology/links.ts";
import { idOf } from "../kit/engine_world.ts";
import { SurveyNetwork, SURVEYOR_ID, SURVEYOR_SECRET } from "../kit/survey_network.ts";
import { runTool, startTool, toolCommand } from "../kit/tool.ts";

const FILES = ["graph.graphml", "links.csv", "nodes.csv", "result.json", "survey.json"];

/** Arguments that all commands of a test share. */
function common(network: SurveyNetwork): string[] {
  return ["--network", "local", "--db", join(network.folder, "surveys.sqlite")];
}

function driving(network: SurveyNetwork): string[] {
  return [...common(network), "--seed-file", network.seedFile(), "--settle", "1s", "--connections", "2"];
}

/** Links between the nodes of survey.json, dialer first; the surveyor's own are left out. */
function linksIn(folder: string): string[] {
  const path = join(folder, "survey.json");
  const { document } = readSurvey(readFileSync(path, "utf8"), path);
  return linksOf(document).filter(({ ends }) => !ends.includes(SURVEYOR_ID)).map(({ ends, dialer }) => {
    assert.ok(dialer !== undefined);
    return `${dialer}>${ends.find((end) => end !== dialer)}`;
  }).sort();
}

test("survey run: one document on stdout, five files, the true links, and the database to report from", async () => {
  await using network = await SurveyNetwork.open(12);
  const out = join(network.folder, "out");
  const args = ["survey", "run", ...network.targets(0, 5), ...driving(network), "--collect", "2s", "--nonce", "77"];
  const { status, out: text, err } = await runTool([...args, "--out", out, "--json"]);
  assert.equal(status, 0, err);
  const document = JSON.parse(text);
  assert.deepEqual(Object.keys(document).slice(0, 9), [
    "schema",
    "nonce",
    "phase",
    "asked",
    "answered",
    "silent",
    "bad",
    "links",
    "files",
  ]);
  const { schema, nonce, phase, asked, answered, silent, bad, passedOn, surveyor } = document;
  assert.deepEqual({ schema, nonce, phase, asked, answered, silent, bad, passedOn, surveyor }, {
    schema: "stellar-overlay/survey/1",
    nonce: 77,
    phase: "done",
    asked: 12,
    answered: 12,
    silent: 0,
    bad: 0,
    passedOn: true,
    surveyor: SURVEYOR_ID,
  });
  assert.deepEqual(readdirSync(out).sort(), FILES);
  assert.deepEqual(Object.keys(document.files).sort(), FILES);
  assert.deepEqual(linksIn(out), network.links());
  const own = document.links - network.links().length;
  assert.equal(own, 2);
  for (const phrase of ["connecting", "START sent", "collecting", "sending STOP", "asking", "done"]) {
    assert.ok(err.includes(`survey: ${phrase}`), `${phrase} in\n${err}`);
  }
  assert.ok(!(text + err).includes(SURVEYOR_SECRET));
  const report = await runTool([
    ...["survey", "report", "--db", "77", "--network", "local", "--db-file", join(network.folder, "surveys.sqlite")],
    "--json",
  ]);
  assert.equal(JSON.parse(report.out).nodes.length, 13, report.err);
  // A second one at once is our own fault, and is said so before anything is sent.
  const second = await runTool(["survey", "run", ...network.targets(0), ...driving(network)]);
  assert.equal(second.status, 1);
  assert.match(second.err, /one of our own surveys still blocks[\s\S]*--nonce 77[\s\S]*\(survey_active\)/);
});

test("survey run: Ctrl-C prints what is known, and survey collect goes on", async () => {
  await using network = await SurveyNetwork.open(8);
  const out = join(network.folder, "out");
  const run = startTool(["survey", "run", ...network.targets(0, 3), ...driving(network), "--collect", "4s", "--json"]);
  await run.saw("survey: collecting");
  run.signal("SIGINT");
  const interrupted = await run.done;
  assert.equal(interrupted.status, 130, interrupted.err);
  const { nonce, phase, asked } = JSON.parse(interrupted.out);
  assert.deepEqual([phase, asked], ["collecting", 0]);
  assert.match(interrupted.err, new RegExp(`go on with: survey collect --network local --nonce ${nonce} --db`));
  const status = await runTool(["survey", "status", ...common(network)]);
  assert.match(status.out, new RegExp(`survey ${nonce} of local: collecting[\\s\\S]*next +survey collect`));
  const collect = await runTool(["survey", "collect", ...driving(network), "--json", "--out", out]);
  assert.equal(collect.status, 0, collect.err);
  const done = JSON.parse(collect.out);
  assert.deepEqual([done.nonce, done.phase, done.answered], [nonce, "done", 8]);
  assert.ok(Date.parse(done.stoppedAt) - Date.parse(done.startedAt) >= 4000);
  assert.deepEqual(linksIn(out), network.links());
});

test("survey run killed while it asks goes on where it was; meanwhile nobody else may drive it", async () => {
  await using network = await SurveyNetwork.open(24, { ledgerMs: 1000 });
  const run = startTool([
    "survey",
    "run",
    ...network.targets(0, 3),
    ...driving(network),
    "--collect",
    "1s",
    "--ndjson",
  ]);
  await run.saw('"type":"node"');
  const other = await runTool(["survey", "collect", ...driving(network)]);
  const ended = run.out().includes('"type":"survey"');
  if (!ended) assert.match(other.err, /\(survey_in_progress\)/);
  run.signal("SIGKILL");
  const killed = (await run.done).out.split("\n").filter((line) => line.includes('"type":"node"')).length;
  const { surveys: [before] } = JSON.parse((await runTool(["survey", "status", ...common(network), "--json"])).out);
  assert.ok(before.answered >= killed, `${before.answered} stored, ${killed} printed`);
  assert.equal(before.isDriven, false);
  const collect = await runTool(["survey", "collect", ...driving(network), "--json"]);
  assert.equal(collect.status, 0, collect.err);
  const after = JSON.parse(collect.out);
  assert.deepEqual([after.answered, after.phase], [24, "done"]);
  assert.ok(after.requests <= 24 + 12, `${after.requests} requests: what was answered is not asked again`);
});

test("survey start, stop, collect, attach and convert: each step alone", async () => {
  await using network = await SurveyNetwork.open(8);
  const out = join(network.folder, "out");
  const start = await runTool([
    "survey",
    "start",
    ...network.targets(0, 3),
    ...driving(network),
    "--nonce",
    "5",
    "--json",
  ]);
  assert.equal(start.status, 0, start.err);
  assert.equal(JSON.parse(start.out).phase, "collecting");
  assert.ok(network.world.nodes.every((node) => node.engine.survey.phase === "collecting"));
  const stop = await runTool(["survey", "stop", ...driving(network), "--json"]);
  assert.equal(JSON.parse(stop.out).phase, "asking", stop.err);
  await network.world.until(
    () => network.world.nodes.every((node) => node.engine.survey.phase === "reporting"),
    "STOP",
  );
  // As a colleague would, with the same identity and a database that knows nothing.
  const elsewhere = [
    "--network",
    "local",
    "--db",
    join(network.folder, "other.sqlite"),
    "--seed-file",
    network.seedFile(),
  ];
  const attach = await runTool([
    "survey",
    "attach",
    "5",
    ...network.targets(1, 6),
    ...elsewhere,
    "--settle",
    "0",
    "--json",
  ]);
  assert.equal(attach.status, 0, attach.err);
  const attached = JSON.parse(attach.out);
  assert.deepEqual([attached.nonce, attached.answered, attached.startedAt], [5, 8, null]);
  const collect = await runTool([
    ...["survey", "collect", ...driving(network), "--out", out, "--anonymize", "random", "--json"],
  ]);
  assert.equal(JSON.parse(collect.out).answered, 8, collect.err);
  const survey = readFileSync(join(out, "survey.json"), "utf8");
  assert.ok(!survey.includes(network.world.nodes[0].id) && !survey.includes(SURVEYOR_ID));
  const convert = await runTool(["survey", "convert", join(out, "survey.json"), "--to", "graphml"]);
  assert.match(convert.out, /<graphml/);
});

test("survey run without permission ends soon, and says what would permit us", async () => {
  await using network = await SurveyNetwork.open(5, { permitted: false, ledgerMs: 300 });
  const { status, err } = await runTool([
    "survey",
    "run",
    ...network.targets(0, 2),
    ...driving(network),
    "--watch",
    "1s",
  ]);
  assert.equal(status, 1);
  assert.match(
    err,
    /nobody passed on the START[\s\S]*\(survey_ignored\)\n +hint: [\s\S]*SURVEYOR_KEYS[\s\S]*exactly those keys/,
  );
  const [only] = JSON.parse((await runTool(["survey", "status", ...common(network), "--json"])).out).surveys;
  assert.equal(only.phase, "ignored");
  const one = await runTool([
    ...["survey", "run", ...network.targets(0), ...driving(network), "--collect", "1s", "--connections", "1"],
  ]);
  assert.equal(one.status, 1);
  assert.match(one.err, /only one connection[\s\S]*none of 1 nodes answered[\s\S]*\(survey_no_answer\)/);
});

test("survey run while another survey is active says whose it is and until when", async () => {
  await using network = await SurveyNetwork.open(6, { alsoPermits: [idOf(4)], ledgerMs: 300 });
  const other = network.world.nodes[4];
  const run = startTool(["survey", "run", ...network.targets(0, 2), ...driving(network)]);
  await network.world.until(
    () => network.world.nodes[0].engine.peers().some((peer) => peer.nodeId === SURVEYOR_ID),
    "in",
  );
  assert.ok(other.engine.survey.startCollecting(9).started);
  const { status, err } = await run.done;
  assert.equal(status, 1, err);
  assert.match(
    err,
    new RegExp(`another survey is active, of ${other.id}, nonce 9; it is over at \\d{4}-[\\s\\S]*--wait`),
  );
});

test("survey run cannot begin: no ledger, nobody there, no identity, a bad one, a public network without consent", async () => {
  await using network = await SurveyNetwork.open(2, { ledgerMs: 0 });
  const [target] = network.targets(0);
  const run = async (...args: string[]) => {
    const { status, err } = await runTool(["survey", "run", ...args], { env: { STELLAR_OVERLAY_SEED: "" } });
    return `${status} ${err}`;
  };
  const local = [target, ...common(network)];
  assert.match(await run(...local, "--seed-file", network.seedFile(), "--timeout", "1s"), /^1 [\s\S]*\(no_ledger\)/);
  assert.match(
    await run("127.0.0.1:1", ...common(network), "--seed-file", network.seedFile(), "--timeout", "1s"),
    /^1 [\s\S]*127\.0\.0\.1:1: .*\(no_peer\)/,
  );
  assert.match(await run(...local), /^2 .*no identity[\s\S]*STELLAR_OVERLAY_SEED/);
  assert.match(
    await run(...local, "--seed-file", network.seedFile(SURVEYOR_SECRET, 0o644)),
    /^1 .*\(seed_file_exposed\)/,
  );
  const wrong = await run(...local, "--seed-file", network.seedFile(SURVEYOR_SECRET.replace(/.$/, "A")));
  assert.match(wrong, /^1 .*\(seed_invalid\)/);
  assert.ok(!wrong.includes(SURVEYOR_SECRET.slice(5, 50)));
  assert.match(await run(...local, "--seed-file", join(network.folder, "none")), /^1 .*\(file_unreadable\)/);
  assert.match(
    await run("127.0.0.1:1", "--network", "testnet", "--seed-file", network.seedFile()),
    /^2 A survey of testnet keeps everybody else[\s\S]*nothing cancels it[\s\S]*add --yes/,
  );
  assert.match(await run(...local, "--collect", "31m"), /^2 [\s\S]*1s to 30m/);
  assert.match(await run(...local, "--via", "http://127.0.0.1:1"), /^2 .*--via drives one node/);
  const file = network.seedFile();
  assert.match(await run(...local, "--seed-file", file, "--out", join(file, "below")), /^1 .*\(file_unwritable\)/);
  const collect = await runTool(["survey", "collect", ...driving(network)]);
  assert.deepEqual([collect.status, /\(survey_unknown\)/.test(collect.err)], [1, true], collect.err);
  assert.match((await runTool(["survey", "status", ...common(network)])).out, /^no survey of local in the database/);
});

test("survey takes the secret from the environment, and from a prompt that shows nothing of it", async () => {
  await using network = await SurveyNetwork.open(4, { ledgerMs: 300 });
  const args = [
    "survey",
    "run",
    ...network.targets(0, 2),
    ...common(network),
    "--collect",
    "1s",
    "--settle",
    "1s",
    "--connections",
    "2",
  ];
  const env = { STELLAR_OVERLAY_SEED: SURVEYOR_SECRET };
  const run = await runTool([...args, "--json"], { env });
  assert.equal(run.status, 0, run.err);
  assert.equal(JSON.parse(run.out).answered, 4);
  if (!existsSync("/usr/bin/script")) return;
  const { spawn } = await import("node:child_process");
  const [command, leading] = toolCommand();
  const line = [command, ...leading, "survey", "collect", ...common(network), "--retry", "--json", "--settle", "1s"]
    .map((part) => `'${part}'`);
  const child = spawn("/usr/bin/script", ["-qec", line.join(" "), "/dev/null"], {
    env: { ...process.env, STELLAR_OVERLAY_SEED: "", NO_COLOR: "1" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let shown = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    if (!shown.includes("not shown): ") && (shown + text).includes("not shown): ")) {
      child.stdin.write(`${SURVEYOR_SECRET.slice(0, 20)}x\u007f${SURVEYOR_SECRET.slice(20)}\r`);
    }
    shown += text;
  });
  const status = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(status, 0, shown);
  assert.match(shown, /secret of the surveyor[\s\S]*"answered": 4/);
  assert.ok(!shown.includes(SURVEYOR_SECRET.slice(5, 19)), "no echo");
});
