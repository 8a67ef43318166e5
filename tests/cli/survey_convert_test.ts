/** `survey convert` through its command line: every form in and out, files, streams, refusals. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Command } from "commander";
import { addSurveyConvert } from "../../cli/commands/survey_convert.ts";
import type { CliContext, ExitCode } from "../../cli/context.ts";
import { UsageError } from "../../cli/flags.ts";
import { isFailure } from "../../overlay/base/errors.ts";
import { systemRandom } from "../../overlay/base/random.ts";
import { readSurvey } from "../../survey/topology/formats.ts";
import { linksOf } from "../../survey/topology/links.ts";
import { fixtureText } from "../kit/survey_files_kit.ts";
import { temporaryFolder } from "../kit/tool.ts";

const FIXTURE = new URL("../fixtures/http/survey-result.json", import.meta.url).pathname;
const NODE = "GA5GNKGVF6TNOVVT3FCEZ34L4IG4OPXNYOCXX522VB7HKMKO3DM676UR";

/** Runs the command line as the program does, on streams of its own. Rejects as the action does. */
async function convert(args: string[], input = ""): Promise<{ status: ExitCode; out: string; err: string }> {
  let out = "", err = "", status: ExitCode | undefined;
  const io = {
    out: (text: string) => void (out += text),
    err: (text: string) => void (err += text),
    readInput: () => Promise.resolve(input),
  } as CliContext["io"];
  const program = new Command().exitOverride().configureOutput({ writeErr: (text) => void (err += text) });
  const parent = program.command("survey");
  addSurveyConvert(parent, async (run) => void (status = await run({ io, random: systemRandom } as CliContext)));
  for (const command of [parent, ...parent.commands]) {
    command.exitOverride().configureOutput({
      writeErr: (text) => void (err += text),
      writeOut: (text) => void (out += text),
    });
  }
  await program.parseAsync(["survey", "convert", ...args], { from: "user" });
  return { status: status!, out, err };
}

test("survey convert: a result becomes each single form on stdout, and what it leaves out is told", async () => {
  for (const form of ["graphml", "json", "flat", "result", "script", "nodes-csv", "links-csv"]) {
    const { status, out, err } = await convert([FIXTURE, "--to", form]);
    assert.equal(status, 0);
    assert.ok(out.includes(NODE), form);
    assert.match(err, /^read getsurveyresult's JSON: 6 nodes, 6 of them answered, 11 links\n/);
    assert.equal(/note: GraphML leaves out 11 second reports of links/.test(err), form === "graphml");
  }
  assert.match((await convert([FIXTURE, "--to", "result"])).out, /^\{\n {3}"backlog" : null/);
});

test("survey convert: a chain through every form keeps the links, from stdin too", async () => {
  let text = fixtureText("http/survey-result.json");
  for (
    const form of ["json", "script", "result", "json", "graphml", "json", "graphml", "flat", "graphml", "json", "flat"]
  ) {
    const { out } = await convert(["-", "--to", form], text);
    assert.equal(linksOf(readSurvey(out, form).document).length, 11, form);
    text = out;
  }
});

test("survey convert: csv and all write a folder; a single form writes a file", async () => {
  const folder = join(temporaryFolder(), "new", "folder");
  const { err } = await convert([FIXTURE, "--to", "all", "--out", folder, "--slice", "20s"]);
  assert.deepEqual(readdirSync(folder).sort(), [
    "graph.graphml",
    "links.csv",
    "nodes.csv",
    "result.json",
    "survey.json",
  ]);
  assert.match(err, /wrote .*nodes\.csv/);
  const survey = JSON.parse(readFileSync(join(folder, "survey.json"), "utf8"));
  assert.equal(survey.survey.sliceSeconds, 20);
  // The first report's 109,288 bytes read in 20 s.
  assert.equal(survey.links[0].reports[0].bytesReadPerSecond, 5464.4);
  const csv = join(folder, "csv");
  await convert([join(folder, "survey.json"), "--to", "csv", "-o", csv]);
  assert.deepEqual(readdirSync(csv).sort(), ["links.csv", "nodes.csv"]);
  assert.equal(readFileSync(join(csv, "links.csv"), "utf8"), readFileSync(join(folder, "links.csv"), "utf8"));
  const file = join(folder, "g.graphml");
  const single = await convert([FIXTURE, "--to", "graphml", "-o", file]);
  assert.equal(single.out, "");
  assert.equal(readFileSync(file, "utf8"), readFileSync(join(folder, "graph.graphml"), "utf8"));
});

test("survey convert --anonymize: same seed, same names; short seeds are warned of; random is never the same", async () => {
  const once = await convert([FIXTURE, "--to", "flat", "--anonymize", "sixteen characters"]);
  assert.ok(!once.out.includes(NODE) && !once.err.includes("warning"));
  assert.equal((await convert([FIXTURE, "--to", "flat", "--anonymize", "sixteen characters"])).out, once.out);
  assert.match(once.out, /"version": "v26\.1\.0"/);
  const short = await convert([FIXTURE, "--to", "flat", "--anonymize", "1", "--versions", "drop"]);
  assert.match(short.err, /warning: a seed of 1 characters can be found by trying/);
  assert.ok(!short.out.includes("26.1.0"));
  const fresh = await Promise.all([1, 2].map(() => convert([FIXTURE, "--to", "flat", "--anonymize", "random"])));
  assert.notEqual(fresh[0].out, fresh[1].out);
  assert.ok(!fresh[0].err.includes("warning"));
});

test("survey convert refuses what cannot be done, and leaves nothing behind", async () => {
  const usage = (error: unknown) => error instanceof UsageError;
  await assert.rejects(convert([FIXTURE, "--to", "csv"]), usage);
  await assert.rejects(convert([FIXTURE, "--to", "all"]), usage);
  await assert.rejects(convert([FIXTURE, "--to", "flat", "--versions", "drop"]), usage);
  await assert.rejects(convert([FIXTURE, "--to", "json", "--slice", "0"]), usage);
  await assert.rejects(convert([FIXTURE, "--to", "pdf"]), /Allowed choices are graphml, csv, json/);
  await assert.rejects(convert([FIXTURE]), /required option '--to <form>'/);
  const folder = temporaryFolder(), bad = join(folder, "bad.json"), out = join(folder, "out");
  writeFileSync(bad, '{"topology": {');
  await assert.rejects(convert([bad, "--to", "all", "--out", out]), isFailure("survey_file_invalid"));
  assert.ok(!existsSync(out));
  await assert.rejects(convert([join(folder, "none"), "--to", "flat"]), isFailure("file_unreadable"));
  await assert.rejects(convert([FIXTURE, "--to", "all", "--out", bad]), isFailure("file_unwritable"));
});

test("survey convert: the slice that a file tells counts", async () => {
  const folder = temporaryFolder(), file = join(folder, "s.json");
  const { out } = await convert([FIXTURE, "--to", "json", "--slice", "20s"]);
  writeFileSync(file, out);
  const again = await convert([file, "--to", "json", "--slice", "99s"]);
  assert.match(again.err, /the file says that the slice took 20 s; --slice is not used/);
  assert.equal(again.out, out);
});
