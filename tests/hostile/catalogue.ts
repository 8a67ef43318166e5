import { FLOODING } from "./flooding_cases.ts";
import { FLOW, PATIENCE } from "./flow_cases.ts";
import { FRAMING, SLOWNESS, XDR } from "./framing_cases.ts";
import { HANDSHAKE, SLOTS } from "./handshake_cases.ts";
import { ENDING, PEERS } from "./peers_cases.ts";
import type { Case } from "./world.ts";

/** The cases that wait for no timer and need no node of their own. */
export const BATTERY: Record<string, Case> = { ...FRAMING, ...XDR, ...HANDSHAKE, ...FLOW, ...FLOODING };

/** Every case by its name; those that wait for a timer of the node come first. */
export const CASES: Record<string, Case> = { ...PATIENCE, ...SLOWNESS, ...SLOTS, ...PEERS, ...ENDING, ...BATTERY };
