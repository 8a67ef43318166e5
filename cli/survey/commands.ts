/** The commands that drive a survey: run, start, stop, collect, attach. */
import { OverlayError } from "../../overlay/base/errors.ts";
import { VERSION } from "../../overlay/base/version.ts";
import type { SurveyBackend } from "../../survey/topology/backend.ts";
import { overAtMs, type SessionGoal } from "../../survey/topology/session.ts";
import type { StoredSurvey, SurveyStore } from "../../survey/topology/survey_store.ts";
import { type CliContext, EXIT, type ExitCode } from "../context.ts";
import type { SurveyAttachFlags, SurveyBeginFlags, SurveyGoOnFlags } from "../commands/survey.ts";
import { UsageError } from "../flags.ts";
import { findSurvey } from "./archive.ts";
import { drive, type OutputFlags } from "./drive.ts";
import {
  isPublic,
  networkWord,
  nodeIdsOf,
  openBackend,
  openSurveyStore,
  phasesOf,
  prepareFolder,
  type Where,
  whereOf,
} from "./settings.ts";

/** `survey run` and `survey start`. */
export async function begin(
  texts: string[],
  flags: SurveyBeginFlags,
  goal: SessionGoal,
  ctx: CliContext,
): Promise<ExitCode> {
  checkOutput(flags);
  const nodes = nodeIdsOf(flags.nodes);
  const where = await whereOf(texts, flags, ctx);
  if (!await isAgreed(where, flags, ctx)) return ctx.signal.aborted ? EXIT.interrupted : EXIT.usage;
  await prepareFolder(flags.out);
  using store = await openSurveyStore(where.network, flags, ctx);
  const nonce = flags.nonce ?? new DataView(ctx.random.bytes(4).buffer).getUint32(0);
  const notBeforeMs = ownSurveyOver(store, where, flags, ctx);
  const backend = await openBackend(where, flags, nonce, ctx);
  if (backend === undefined) return EXIT.interrupted;
  const survey = await withBackend(backend, async () => {
    const surveyor = await surveyorOf(backend, flags.via, ctx);
    if (surveyor === undefined) return undefined;
    const { via, connections } = flags;
    const options = { targets: [...where.targets], via, collectMs: flags.collect, nodes, connections };
    return store.get(store.create({ nonce, surveyor, toolVersion: VERSION, options }))!;
  });
  if (survey === undefined) return EXIT.interrupted;
  const { wait, force, settle: settleMs } = flags;
  return await drive({ goal, where, store, survey, backend, output: flags, wait, notBeforeMs, force, settleMs }, ctx);
}

/** `survey stop` and `survey collect`. */
export async function goOn(
  texts: string[],
  flags: SurveyGoOnFlags,
  goal: SessionGoal,
  ctx: CliContext,
): Promise<ExitCode> {
  checkOutput(flags);
  const nodes = nodeIdsOf(flags.nodes);
  const given = await whereOf(texts, flags, ctx);
  await prepareFolder(flags.out);
  using store = await openSurveyStore(given.network, flags, ctx);
  const found = findSurvey(store, flags.nonce === undefined ? "latest" : String(flags.nonce));
  if (found.state === "ignored" || found.state === "failed") {
    throw new UsageError(`survey ${found.nonce} was never under way: ${found.state}`, "begin a new one: survey run");
  }
  if (nodes.length > 0) store.addNodes(found.id, nodes);
  const survey = store.get(found.id)!;
  return await resume({ given, flags, goal, store, survey }, ctx);
}

/** `survey attach`. */
export async function attach(
  nonce: number,
  texts: string[],
  flags: SurveyAttachFlags,
  ctx: CliContext,
): Promise<ExitCode> {
  checkOutput(flags);
  const nodes = nodeIdsOf(flags.nodes);
  const given = await whereOf(texts, flags, ctx);
  await prepareFolder(flags.out);
  using store = await openSurveyStore(given.network, flags, ctx);
  const known = store.find(nonce);
  const isAlive = known !== undefined && (overAtMs(known, phasesOf(given)) ?? 0) > ctx.clock.wallMs();
  if (isAlive && known.state !== "ignored" && known.state !== "failed") {
    ctx.io.err(`survey ${nonce} is in the database: going on with it; --phase and --ago are not used\n`);
    return await resume({ given, flags, goal: "done", store, survey: known }, ctx);
  }
  const backend = await openBackend(given, flags, nonce, ctx);
  if (backend === undefined) return EXIT.interrupted;
  const survey = await withBackend(backend, async () => {
    const surveyor = await surveyorOf(backend, flags.via, ctx);
    if (surveyor === undefined) return undefined;
    const sinceMs = ctx.clock.wallMs() - flags.ago;
    const isCollecting = flags.phase === "collecting";
    const { via, connections } = flags;
    const id = store.create({
      nonce,
      surveyor,
      toolVersion: VERSION,
      options: { targets: [...given.targets], via, collectMs: flags.collect, nodes, connections },
      state: isCollecting ? "collecting" : "asking",
      // When START was sent is not known in the second phase.
      startedAtMs: isCollecting ? sinceMs : undefined,
      stoppedAtMs: isCollecting ? undefined : sinceMs,
    });
    return store.get(id)!;
  });
  if (survey === undefined) return EXIT.interrupted;
  const { settle: settleMs } = flags;
  return await drive({ goal: "done", where: given, store, survey, backend, output: flags, settleMs }, ctx);
}

/** Goes on with a stored survey, with its own targets unless others are given. */
async function resume(
  of: { given: Where; flags: SurveyGoOnFlags; goal: SessionGoal; store: SurveyStore; survey: StoredSurvey },
  ctx: CliContext,
): Promise<ExitCode> {
  const { given, flags, goal, store, survey } = of;
  const { targets, via, connections } = survey.options;
  const where = given.targets.length > 0 ? given : { ...given, targets };
  const stored: SurveyGoOnFlags = { ...flags, via: flags.via ?? via, connections: flags.connections ?? connections };
  const backend = await openBackend(where, stored, survey.nonce, ctx);
  if (backend === undefined) return EXIT.interrupted;
  const { retry, settle: settleMs } = flags;
  return await drive({ goal, where, store, survey, backend, output: flags, retry, settleMs }, ctx);
}

function checkOutput(flags: OutputFlags): void {
  if (flags.json && flags.ndjson) throw new UsageError("--json and --ndjson exclude each other");
  if (flags.anonymize === "") throw new UsageError("--anonymize: the seed is empty");
  if (flags.anonymize !== undefined && flags.out === undefined) {
    throw new UsageError("--anonymize is for the files of --out", "add --out DIR");
  }
}

/** Closes the backend when the work before the drive fails or comes to nothing. */
async function withBackend<T>(backend: SurveyBackend, work: () => Promise<T | undefined>): Promise<T | undefined> {
  let result: T | undefined;
  try {
    result = await work();
    return result;
  } finally {
    if (result === undefined) await backend.close();
  }
}

/** Our own id is known at once; a node has to be asked for its. */
async function surveyorOf(
  backend: SurveyBackend,
  via: string | undefined,
  ctx: CliContext,
): Promise<string | undefined> {
  if (via !== undefined) await backend.ready(ctx.signal);
  return ctx.signal.aborted ? undefined : backend.surveyorId;
}

/** When the last survey of ours that still blocks the network is over; with --wait that is waited for. @throws OverlayError `survey_active` */
function ownSurveyOver(store: SurveyStore, where: Where, flags: SurveyBeginFlags, ctx: CliContext): number | undefined {
  if (flags.force) return undefined;
  for (const earlier of store.list()) {
    const overAt = overAtMs(earlier, phasesOf(where));
    if (overAt === undefined || overAt <= ctx.clock.wallMs() || earlier.state === "ignored") continue;
    const over = new Date(overAt).toISOString();
    const { nonce, surveyor: surveyorId } = earlier;
    if (flags.wait) {
      ctx.io.err(`our own survey ${nonce} still blocks the network: waiting until ${over}\n`);
      return overAt;
    }
    ctx.io.err(`one of our own surveys still blocks the network; go on with it: survey collect --nonce ${nonce}\n`);
    ctx.io.err("after all nodes were restarted it does not: then add --force\n");
    throw new OverlayError({ code: "survey_active", surveyorId, nonce, overAtLatest: over });
  }
  return undefined;
}

/** On a public network the user is told what a survey does to others, and asked. @throws UsageError where nobody can be asked */
async function isAgreed({ network }: Where, flags: SurveyBeginFlags, { io, signal }: CliContext): Promise<boolean> {
  if (!isPublic(network)) return true;
  const word = networkWord(network);
  io.err(
    `A survey of ${word} keeps everybody else from surveying it for up to 3 h 30 min (30 min collecting, 3 h reporting),\n` +
      `and nothing cancels it once START is sent.\n`,
  );
  if (flags.yes) return true;
  if (!io.inIsTerminal || !io.errIsTerminal) {
    throw new UsageError(`a survey of ${word} needs your consent`, "add --yes");
  }
  const answer = await io.prompt(`Start a survey of ${word}? Type yes: `, { hidden: false, signal });
  const agreed = answer?.trim().toLowerCase() === "yes";
  if (!agreed && !signal.aborted) io.err("not started\n");
  return agreed;
}
