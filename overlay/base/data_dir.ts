/** Where this tool keeps its data. */
import { posix, win32 } from "node:path";
import { networkIdOf, resolveNetwork } from "./networks.ts";

/** What the place depends on; the command line passes the real ones. */
export interface DataDirEnv {
  /** The variables of the environment. */
  env: Readonly<Record<string, string | undefined>>;
  /** The home folder. */
  home: string;
  /** As `process.platform`: "linux", "darwin", "win32", ... */
  platform: string;
}

/**
 * The folder for data: `$XDG_DATA_HOME/stellar-overlay` wherever that variable holds an absolute path, else the platform's
 * usual place: `~/.local/share`, `~/Library/Application Support` on macOS, `%LOCALAPPDATA%` on Windows. Nothing is made here.
 * Source: XDG Base Directory Specification, which says to ignore a relative path.
 */
export function dataDir({ env, home, platform }: DataDirEnv): string {
  const path = platform === "win32" ? win32 : posix;
  const xdg = env.XDG_DATA_HOME;
  if (xdg && path.isAbsolute(xdg)) return path.join(xdg, "stellar-overlay");
  if (platform === "darwin") return path.join(home, "Library", "Application Support", "stellar-overlay");
  if (platform === "win32") {
    return path.join(env.LOCALAPPDATA || path.join(home, "AppData", "Local"), "stellar-overlay");
  }
  return path.join(home, ".local", "share", "stellar-overlay");
}

/**
 * The database file of a network, given by name or passphrase: `<data folder>/pubnet.sqlite`; a custom network's file has the
 * first 16 hex digits of its id as name.
 */
export function databasePath(nameOrPassphrase: string, where: DataDirEnv): string {
  const network = resolveNetwork(nameOrPassphrase);
  const name = network.name === "custom" ? networkIdOf(network.passphrase).slice(0, 16) : network.name;
  return (where.platform === "win32" ? win32 : posix).join(dataDir(where), `${name}.sqlite`);
}
