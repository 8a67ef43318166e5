/** What `doctor --self` shows: our own port from here, then a block per caller. */
import type { Network } from "../../overlay/base/networks.ts";
import { networkLabel } from "../../overlay/base/networks.ts";
import { formatAddress, isDialable } from "../../overlay/base/peer_address.ts";
import type { Endpoint } from "../../overlay/transport/transport.ts";
import { type CallerFinding, callerFindings } from "../../survey/doctor/caller_findings.ts";
import type { CallerReport, OwnDial, SelfReport } from "../../survey/doctor/self.ts";
import type { Io } from "../context.ts";
import { findingLines } from "./doctor.ts";
import { showsSigns } from "./marks.ts";
import { ms, paint } from "./style.ts";

/** Who we are, and what to run elsewhere. */
export function listening(at: Endpoint, nodeId: string, network: Network, ownHosts: readonly string[]): string {
  const host = ownHosts.find((own) => isDialable(own)) ?? ownHosts.find((own) => own === at.host) ?? "THIS-MACHINE";
  const label = networkLabel(network);
  const flag = label.includes(" ") ? `'${label}'` : label;
  return `listening on ${formatAddress(at)} as ${nodeId}\non another machine run: stellar-overlay doctor ${nodeId}@${
    formatAddress({ host, port: at.port })
  } --network ${flag}`;
}

/** Our own port, dialed from here. */
export function renderOwnDials(dials: readonly OwnDial[], io: Io, env: Record<string, string | undefined>): string {
  const c = paint(io.outColour);
  const findings = dials.map((dial) => ({ code: "own port", ok: dial.ok, evidence: `${dial.address} ${dial.detail}` }));
  return findingLines(findings, showsSigns(io, env), io.outIsTerminal ? io.columns : undefined, c).join("\n") + "\n";
}

/** One caller. */
export function renderCaller(caller: CallerReport, io: Io, env: Record<string, string | undefined>): string {
  const c = paint(io.outColour);
  const width = io.outIsTerminal ? io.columns : undefined;
  const title = `${c.bold(caller.address)} ${c.dim(`called at ${caller.startedAt}, stayed ${ms(caller.durationMs)}`)}`;
  return `\n${title}\n${findingLines(callerFindings(caller), showsSigns(io, env), width, c).join("\n")}\n`;
}

/** Nothing that a caller did speaks against us or against it. */
export function isFine(caller: CallerReport): boolean {
  return callerFindings(caller).every((finding) => finding.ok !== false);
}

/** `stellar-overlay/doctor-self/1`. */
export function selfDocument(report: SelfReport): {
  schema: string;
  listen: string;
  nodeId: string;
  ownDials: OwnDial[];
  callers: (CallerReport & { findings: CallerFinding[] })[];
} {
  const { listen, nodeId, ownDials, callers } = report;
  return {
    schema: "stellar-overlay/doctor-self/1",
    listen,
    nodeId,
    ownDials,
    callers: callers.map((caller) => ({ ...caller, findings: callerFindings(caller) })),
  };
}
