/** Waiting with a limit, so that a test that would hang fails and says for what it waited. */

/** `promise`, or an error that names `what` after `limitMs`. */
export function within<T>(limitMs: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${limitMs} ms for: ${what}`)), limitMs);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** Conditions that are looked at again whenever something changed. */
export class Conditions {
  #waiting: (() => void)[] = [];

  /** Something changed. */
  changed(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const look of waiting) look();
  }

  /** Resolves once `condition` holds; an error it throws ends the wait. */
  until(limitMs: number, what: string, condition: () => boolean): Promise<void> {
    return within(
      limitMs,
      what,
      new Promise((resolve, reject) => {
        const look = () => {
          try {
            if (condition()) resolve();
            else this.#waiting.push(look);
          } catch (error) {
            reject(error);
          }
        };
        look();
      }),
    );
  }
}
