/** Who the node of `run` is: a seed file, the seed of a stellar-core configuration, or somebody new at every start. */
import { closeSync, existsSync, mkdirSync, openSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { CoreConfig } from "../../overlay/base/core_config.ts";
import { OverlayError } from "../../overlay/base/errors.ts";
import type { Random } from "../../overlay/base/random.ts";
import { decodeSecretSeed, encodeSecretSeed } from "../../overlay/crypto/strkey.ts";
import { seedFlag, UsageError } from "../flags.ts";

/** The flags that decide about the identity. */
export interface IdentityFlags {
  seedFile?: string;
  newSeed?: boolean;
  config?: string;
  /** False is --no-config-seed. */
  configSeed: boolean;
}

/** A secret, never to be shown, and where it came from, to be shown. */
export interface Identity {
  /** 32-byte Ed25519 seed. */
  seed: Uint8Array;
  origin: "seed file" | "new seed file" | "configuration" | "fresh";
  /** The file, where there is one. */
  path: string | undefined;
}

/**
 * The identity that the flags mean. With --new-seed a missing file is made first: mode 600, never over another file.
 * @throws UsageError, OverlayError `file_unreadable`, `file_unwritable`, `seed_file_exposed`, `seed_invalid`
 */
export function identityOf(flags: IdentityFlags, core: CoreConfig | undefined, random: Random): Identity {
  const { seedFile: path } = flags;
  if (flags.newSeed && path === undefined) {
    throw new UsageError("--new-seed needs the name of the file", "add --seed-file FILE");
  }
  if (path !== undefined) {
    if (existsSync(path)) return { seed: seedFlag(path)!, origin: "seed file", path };
    if (!flags.newSeed) throw new UsageError(`--seed-file ${path}: no such file`, "to make it add --new-seed");
    return { seed: makeSeedFile(path, random), origin: "new seed file", path };
  }
  if (flags.configSeed && core?.nodeSeedFile !== undefined) {
    return { seed: seedFlag(core.nodeSeedFile)!, origin: "configuration", path: core.nodeSeedFile };
  }
  if (flags.configSeed && core?.nodeSeed !== undefined) {
    const seed = decodeSecretSeed(core.nodeSeed, `NODE_SEED of ${flags.config}`);
    return { seed, origin: "configuration", path: flags.config };
  }
  return { seed: random.bytes(32), origin: "fresh", path: undefined };
}

function makeSeedFile(path: string, random: Random): Uint8Array {
  const seed = random.bytes(32);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Exclusive: a file that appeared in between is not ours to overwrite.
    const fd = openSync(path, "wx", 0o600);
    try {
      writeSync(fd, `${encodeSecretSeed(seed)}\n`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new OverlayError({ code: "file_unwritable", path, reason }, { cause: error });
  }
  return seed;
}
