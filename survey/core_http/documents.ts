/** The JSON that stellar-core answers with, as far as it is used here. Source: stellar-core ApplicationImpl.cpp getJsonInfo, Peer.cpp getJsonInfo. */
import { type Field } from "../topology/fields.ts";

/** `info`. */
export interface CoreInfo {
  /** Version string. Remote text, as all texts here. */
  readonly build: string;
  /** Passphrase. */
  readonly network: string;
  /** "Synced!" when it takes part; before that "Booting", "Joining SCP", "Connected", "Catching up"; at its end "Stopping". */
  readonly state: string;
  /** Last closed ledger. */
  readonly ledger: number;
  /** When the process began, as the node writes it, by its own clock. Another text is another process. */
  readonly startedOn: string;
  /** How long the process has run by its own clock, ms; undefined when it does not tell. */
  readonly uptimeMs: number | undefined;
  readonly authenticatedPeers: number;
}

/** Reads `info`. Its values throw `survey_file_invalid`, which the caller knows better. */
export function readInfo(document: Field): CoreInfo {
  const whole = need(document.object().get("info"), document, "info");
  const info = whole.object();
  const field = (name: string) => need(info.get(name), whole, name);
  const ledger = field("ledger").object();
  const startedOn = field("startedOn").text();
  const beganMs = Date.parse(startedOn);
  // Age is the node's own now less the close time.
  const nowMs = ((ledger.get("closeTime")?.uint32() ?? NaN) + (ledger.get("age")?.uint32() ?? NaN)) * 1000;
  const uptimeMs = nowMs - beganMs;
  return {
    build: field("build").text(),
    network: field("network").text(),
    state: field("state").text(),
    ledger: need(ledger.get("num"), field("ledger"), "num").uint32(),
    startedOn,
    uptimeMs: uptimeMs >= 0 ? uptimeMs : undefined,
    authenticatedPeers: info.get("peers")?.object().get("authenticated_count")?.uint32() ?? 0,
  };
}

/** One authenticated peer of `peers`. */
export interface CorePeer {
  readonly direction: "inbound" | "outbound";
  /** Node id; its first five characters unless full keys were asked for, or an alias of the node's configuration. */
  readonly id: string;
  /** `ip:port`. */
  readonly address: string;
  readonly version: string;
  readonly overlayVersion: number;
  readonly elapsedSeconds: number;
  /** Last ping. */
  readonly latencyMs: number;
}

/** `peers`. */
export interface CorePeers {
  readonly authenticated: readonly CorePeer[];
  /** Addresses of those that have not authenticated. */
  readonly pending: { readonly inbound: readonly string[]; readonly outbound: readonly string[] };
}

/** Reads `peers`. */
export function readPeers(document: Field): CorePeers {
  const root = document.object();
  const authenticated = need(root.get("authenticated_peers"), document, "authenticated_peers").object();
  const pending = root.get("pending_peers")?.object();
  const list = (direction: "inbound" | "outbound"): CorePeer[] =>
    (authenticated.get(direction)?.arrayOrNull() ?? []).map((item) => {
      const peer = item.object();
      return {
        direction,
        id: need(peer.get("id"), item, "id").text(),
        address: peer.get("address")?.text() ?? "",
        version: peer.get("ver")?.text() ?? "",
        overlayVersion: peer.get("olver")?.uint32() ?? 0,
        elapsedSeconds: peer.get("elapsed")?.uint32() ?? 0,
        latencyMs: peer.get("latency")?.uint32() ?? 0,
      };
    });
  const addresses = (direction: string) => (pending?.get(direction)?.arrayOrNull() ?? []).map((item) => item.text());
  return {
    authenticated: [...list("inbound"), ...list("outbound")],
    pending: { inbound: addresses("inbound"), outbound: addresses("outbound") },
  };
}

/** Reads who the node is from `scp`: its id, or "self" without full keys. */
export function readYou(document: Field): string {
  return need(document.object().get("you"), document, "you").text();
}

/** Reads `bans`: node ids. */
export function readBans(document: Field): string[] {
  return need(document.object().get("bans"), document, "bans").arrayOrNull().map((item) => item.text());
}

function need(field: Field | undefined, owner: Field, name: string): Field {
  if (field === undefined) throw owner.fail(`has no ${name}`);
  return field;
}
