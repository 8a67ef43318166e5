/** What a session says on stderr while it goes on: a line that is redrawn on a terminal, a line now and then elsewhere. */
import { escapeRemoteText } from "../../overlay/base/bytes.ts";
import type { BackendNotice } from "../../survey/topology/backend.ts";
import type { SessionProgress, SessionStep } from "../../survey/topology/session.ts";
import type { CliContext } from "../context.ts";
import { hintLine } from "../errors.ts";
import { type Progress, startProgress } from "../progress.ts";
import { progressLine } from "../render/survey.ts";

/** Off a terminal: time between two lines of the same step, ms. */
const LINE_MS = 30_000;

/** See the head of this file. */
export class SessionLines {
  readonly #ctx: CliContext;
  readonly #progress: Progress;
  #step: SessionStep | undefined;
  #atMs = -Infinity;

  constructor(ctx: CliContext) {
    this.#ctx = ctx;
    this.#progress = startProgress(ctx.io, ctx.clock);
  }

  show(progress: SessionProgress): void {
    const { io, clock, signal } = this.#ctx;
    if (io.errIsTerminal) {
      this.#progress.show(() => progressLine(progress, signal.aborted));
      return;
    }
    const nowMs = clock.nowMs();
    if (progress.step === this.#step && nowMs - this.#atMs < LINE_MS) return;
    this.#step = progress.step;
    this.#atMs = nowMs;
    this.#progress.log(progressLine(progress, signal.aborted));
  }

  notice({ text, hint }: BackendNotice): void {
    this.#progress.log(escapeRemoteText(text) + (hint === undefined ? "" : `\n${hintLine(hint).trimEnd()}`));
  }

  close(): void {
    this.#progress[Symbol.dispose]();
  }
}
