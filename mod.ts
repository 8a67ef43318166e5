/**
 * stellar-overlay as a library: the engine (`overlay/`) and what is built on it (`survey/`).
 *
 * ```ts
 * import { LocalNode, systemClock, systemRandom, TcpTransport, visit } from "stellar-overlay";
 * ```
 */
export * from "./overlay/mod.ts";
export * from "./survey/mod.ts";
