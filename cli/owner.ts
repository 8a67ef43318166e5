/** Names this process to others that look at the same database, and tells whether one that owned something is gone. */
import { hostname } from "node:os";
import process from "node:process";
import type { Clock } from "../overlay/base/clock.ts";

/** A text that no other process has, not even one that gets our pid after us. */
export function ownerOf(clock: Clock): string {
  return `${hostname()} ${process.pid} ${Math.round(clock.wallMs() - clock.nowMs())}`;
}

/** Whether the process behind an owner's name was of this machine and is no more: nobody needs to wait for it. */
export function isGone(owner: string | null | undefined): boolean {
  const [host, pid] = (owner ?? "").split(" ");
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "EPERM";
  }
}
