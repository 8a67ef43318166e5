/**
 * What stellar-core answers to its HTTP commands in words, and what the words mean. All come with status 200 and type
 * application/json, whatever they are. Source: stellar-core CommandHandler.cpp; survey.md section 10, peers.md section 10.
 */

/** A refusal by the command itself: `{"exception": "..."}`; the text is the node's. */
export interface Refused {
  readonly kind: "exception";
  readonly text: string;
}

/** `startsurveycollecting`. */
export type StartAnswer = { readonly kind: "requested" } | { readonly kind: "active" } | Refused;

/**
 * `stopsurveycollecting`. `requested` is said whenever the node knows a survey, even when it has another surveyor or reports
 * already; nothing is sent then.
 */
export type StopAnswer = { readonly kind: "requested" } | { readonly kind: "none" } | Refused;

/**
 * `surveytopologytimesliced`. `added`: said also, at HEAD, when nothing was added: the node is queued already, is the surveyor
 * itself, or there is no survey. `began`: this request began the request loop, which erases all results before it.
 */
export type AddAnswer = { readonly kind: "added"; readonly began: boolean } | Refused;

/** `unban`, `droppeer`. */
export type PeerCommandAnswer =
  | { readonly kind: "done"; readonly banned: boolean }
  /** No such peer is connected (`droppeer`), or the name means no node (`unban`). */
  | { readonly kind: "notFound" }
  | Refused;

/** `connect`: accepted; what becomes of the dial is not told. */
export type ConnectAnswer = { readonly kind: "dialing"; readonly address: string } | Refused;

/** A command that the node cannot carry out yet: it starts. */
export const BOOTING = "Core is booting, try again later";

/** The error in an answer, when it is one. The text is not escaped as JSON by the node, so it is cut out as it stands. */
export function refusalOf(body: string): { readonly kind: "exception" | "error"; readonly text: string } | undefined {
  const match = /^\s*\{\s*"(exception|error)"\s*:\s*"([\s\S]*)"\s*\}\s*$/.exec(body);
  return match === null ? undefined : { kind: match[1] as "exception" | "error", text: match[2] };
}

/** Reads the answer of `startsurveycollecting`; undefined when it is none that is known. */
export function readStart(body: string): StartAnswer | undefined {
  return sentence(body, {
    "Requested network to start survey collecting.": { kind: "requested" },
    "Failed to start survey collecting. Another survey is active on the network.": { kind: "active" },
  });
}

/** Reads the answer of `stopsurveycollecting`. */
export function readStop(body: string): StopAnswer | undefined {
  return sentence(body, {
    "Requested network to stop survey collecting.": { kind: "requested" },
    "Failed to stop survey collecting. No survey is active on the network.": { kind: "none" },
  });
}

/** Reads the answer of `surveytopologytimesliced`. The first of its two sentences has a blank at its end. */
export function readAdd(body: string): AddAnswer | undefined {
  return sentence(body, {
    "Adding node.Survey started": { kind: "added", began: true },
    "Adding node.Survey already running!": { kind: "added", began: false },
  });
}

/** Reads the answer of `stopsurvey`, which is always the same. */
export function readStopSurvey(body: string): { readonly kind: "stopped" } | Refused | undefined {
  return sentence(body, { "survey stopped": { kind: "stopped" } });
}

/** Reads the answer of `unban` and `droppeer` for `node`. */
export function readPeerCommand(body: string, node: string): PeerCommandAnswer | undefined {
  return sentence<PeerCommandAnswer>(body, {
    [`Unban peer: ${node}`]: { kind: "done", banned: false },
    [`Drop peer: ${node}`]: { kind: "done", banned: false },
    [`Drop and ban peer: ${node}`]: { kind: "done", banned: true },
    [`Peer ${node} not found`]: { kind: "notFound" },
  });
}

/** Reads the answer of `connect`. */
export function readConnect(body: string): ConnectAnswer | undefined {
  const refused = refusalOf(body);
  if (refused !== undefined) return { kind: "exception", text: refused.text };
  const match = /^Connect to: (\S+)$/.exec(body.trim());
  return match === null ? undefined : { kind: "dialing", address: match[1] };
}

function sentence<A extends { kind: string }>(body: string, known: Record<string, A>): A | Refused | undefined {
  const refused = refusalOf(body);
  if (refused !== undefined) return { kind: "exception", text: refused.text };
  const text = body.trim();
  return Object.hasOwn(known, text) ? known[text] : undefined;
}
