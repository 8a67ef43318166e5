import type { Command } from "commander";
import type { Start } from "../context.ts";
/** x */
export function addPeers(_program: Command, _start: Start): void {}
