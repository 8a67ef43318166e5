/** Version of this project, as HELLO, `--version` and run records show it. package.json and deno.json say the same. */
export const VERSION = "0.1.0";
