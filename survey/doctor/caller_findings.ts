/** What a caller's behaviour says about us: findings for `doctor --self`. Pure. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import { MAX_TIME_SLIP_MS } from "./clocks.ts";
import type { Finding } from "./findings.ts";
import type { CallerReport } from "./self.ts";

/** A finding about one caller. */
export type CallerFinding = Omit<Finding, "code"> & {
  code: "hello" | "network" | "certificate" | "clock" | "versions" | "our_hello" | "mac" | "grant" | "asked" | "end";
};

/** Judges one caller's report. */
export function callerFindings(caller: CallerReport): CallerFinding[] {
  const found: CallerFinding[] = [];
  const add = (code: CallerFinding["code"], ok: boolean | null, evidence: string) => found.push({ code, ok, evidence });
  const said = caller.end.remoteText === null ? "" : ` ("${escapeRemoteText(caller.end.remoteText)}")`;
  if (caller.nodeId === null) {
    add("hello", false, `no HELLO came: ${caller.end.detail}`);
    return found;
  }
  add(
    "hello",
    true,
    `${caller.nodeId}, ${escapeRemoteText(caller.versionStr!)}, announces port ${caller.listeningPort}`,
  );
  add(
    "network",
    caller.networkKnown,
    caller.networkKnown
      ? `calls on ${escapeRemoteText(caller.network!)}`
      : `calls on network ${caller.network}, which we do not know: name its passphrase with --network`,
  );
  add(
    "certificate",
    caller.certificate === "ok",
    caller.certificate === "ok"
      ? "signed, and not expired"
      : caller.certificate === "expired"
      ? "signed, but expired by our clock"
      : "its signature does not verify",
  );
  const times = caller.certificateTimes;
  if (times !== null && times.clockAheadMinMs !== null && times.clockAheadMaxMs !== null) {
    const ahead = times.clockAheadMinMs > MAX_TIME_SLIP_MS, behind = times.clockAheadMaxMs < -MAX_TIME_SLIP_MS;
    add(
      "clock",
      !ahead && !behind,
      ahead
        ? `its clock is at least ${minutes(times.clockAheadMinMs)} ahead of ours`
        : behind
        ? `its clock is at least ${minutes(-times.clockAheadMaxMs)} behind ours`
        : "its certificate fits our clock",
    );
  }
  add("versions", caller.versionsMeet, `overlay ${caller.overlayMinVersion}-${caller.overlayVersion}`);
  if (caller.networkKnown === false || caller.certificate === "signature") return found;
  add(
    "our_hello",
    caller.helloAccepted,
    caller.helloAccepted
      ? "accepted: it sent AUTH"
      : caller.macOk === false
      ? "its AUTH does not verify"
      : `not accepted: ${caller.end.detail}${said}${
        caller.end.remoteText === null
          ? "; a caller that closes here has banned us, or takes our certificate for expired (clocks)"
          : ""
      }`,
  );
  if (caller.macOk !== null) add("mac", caller.macOk, caller.macOk ? "every frame verifies" : caller.end.detail);
  if (!caller.helloAccepted) return found;
  add(
    "grant",
    caller.granted !== null,
    caller.granted === null
      ? `no credit came: ${caller.end.detail}${said}`
      : `${caller.granted.messages} messages, ${caller.granted.bytes} bytes${
        caller.rttMs === null ? "" : `; a round trip takes ${caller.rttMs} ms`
      }`,
  );
  const asked = Object.entries(caller.messages).map(([type, count]) => `${count} ${type}`);
  add("asked", null, asked.length === 0 ? "it sent nothing more" : asked.join(", "));
  if (caller.end.by === "remote") add("end", caller.granted === null ? false : null, `${caller.end.detail}${said}`);
  return found;
}

function minutes(ms: number): string {
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}
