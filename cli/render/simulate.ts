/** `simulate` as text and as JSON. */
import { LOCAL } from "../../overlay/base/networks.ts";
import { BEHAVIOURS, type TwinNodePlan, type TwinPlan } from "../../survey/twin/node_plan.ts";
import type { MembersChange, TwinStart } from "../../survey/twin/twin.ts";
import type { Io } from "../context.ts";
import { toJson } from "./json.ts";
import { count, ms, paint } from "./style.ts";

/** A twin that runs. */
export interface Running {
  plan: TwinPlan;
  started: TwinStart;
  /** `ip:port`. */
  seeds: string[];
  /** A kind, or the path of the topology file. */
  topology: string;
  ledgerMs: number;
  /** Path of the truth, if it was written. */
  truth: string | undefined;
}

function behaviours(plan: TwinPlan): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const behaviour of BEHAVIOURS) {
    const n = plan.nodes.filter((node) => node.behaviour === behaviour).length;
    if (n > 0) counts[behaviour] = n;
  }
  return counts;
}

function validatorsOf(plan: TwinPlan): number {
  return plan.nodes.filter((node) => node.validator).length;
}

/** How many nodes differ in a survey, and how. */
function surveyRoles(plan: TwinPlan): { late: number; optedOut: number; restarting: number; lagging: number } {
  const count = (is: (node: TwinNodePlan) => boolean): number => plan.nodes.filter(is).length;
  return {
    late: count((node) => node.surveyRole === "late"),
    optedOut: count((node) => node.surveyRole === "opted-out"),
    restarting: count((node) => node.surveyRole === "restarting"),
    lagging: count((node) => (node.lagLedgers ?? 0) > 0),
  };
}

/** The document of `--json`, one line at the end of the start. */
export function renderSimulateJson(running: Running): string {
  const { plan, started } = running;
  return toJson({
    schema: "stellar-overlay/simulate/1",
    network: LOCAL.name,
    passphrase: plan.passphrase,
    seed: plan.seed,
    topology: running.topology,
    nodes: plan.nodes.length,
    behaviours: behaviours(plan),
    validators: validatorsOf(plan),
    ledgerMs: running.ledgerMs,
    links: started.links,
    failedLinks: started.failedLinks,
    startMs: Math.round(started.tookMs),
    seeds: running.seeds,
    truth: running.truth ?? null,
    ...(plan.surveyorKeys && { surveyorKeys: plan.surveyorKeys, survey: surveyRoles(plan) }),
  }) + "\n";
}

/** What runs, for stderr. */
export function renderSimulateHead(running: Running, io: Pick<Io, "errColour">): string {
  const { plan, started } = running;
  const c = paint(io.errColour);
  const kinds = Object.entries(behaviours(plan)).map(([behaviour, n]) => `${n} ${behaviour}`).join(", ");
  const validators = validatorsOf(plan);
  const traffic = validators === 0
    ? "no validators"
    : `${count(validators, "validator")}, a ledger every ${ms(running.ledgerMs)}`;
  const lines = [
    c.bold(`${count(plan.nodes.length, "node")} up in ${ms(started.tookMs)}`) +
    ` (${running.topology}, seed ${plan.seed})`,
    `  ${kinds}`,
    `  ${count(started.links, "connection")} between them; ${traffic}`,
  ];
  if (started.failedLinks > 0) {
    lines.push(
      c.yellow(
        `  ${
          count(started.failedLinks, "connection")
        } failed: overlay versions that do not meet, or too few file handles (ulimit -n)`,
      ),
    );
  }
  if (plan.surveyorKeys !== undefined) {
    const { late, optedOut, restarting, lagging } = surveyRoles(plan);
    lines.push(
      `  ${count(plan.surveyorKeys.length, "surveyor")} permitted; ${optedOut} opted out, ${lagging} lagging;` +
        ` after START ${late} join and ${restarting} restart`,
    );
  }
  if (running.truth !== undefined) lines.push(`  truth written to ${running.truth}`);
  return lines.join("\n") + "\nseeds:\n";
}

/** One seed address per line. */
export function renderSeeds(running: Running): string {
  return running.seeds.map((seed) => `${seed}\n`).join("");
}

/** What to do next. */
export function renderSimulateHint(running: Running): string {
  return `try: stellar-overlay crawl --network ${LOCAL.name} ${running.seeds.join(" ")}\nCtrl-C ends the network\n`;
}

/** A survey began. */
export function renderSurveyBegun({ nonce, surveyorId }: { nonce: number; surveyorId: string }): string {
  return `survey ${nonce} of ${surveyorId} began\n`;
}

/** What followed. */
export function renderMembersChange({ joined, restarted, failedLinks }: MembersChange): string {
  const failed = failedLinks === 0 ? "" : `; ${count(failedLinks, "connection")} failed`;
  return `after START ${count(joined, "node")} joined and ${restarted} restarted${failed}\n`;
}

/** The closing line. */
export function renderSimulateEnd(nodes: number, tookMs: number, ledgers: number): string {
  return `${count(nodes, "node")} stopped after ${ms(tookMs)}; ${count(ledgers, "ledger")} closed\n`;
}
