import type { Command } from '../../../src/cli/lib/command.ts';
import { runCommand } from '../../../src/cli/lib/main.ts';

export type Captured = { readonly status: number; readonly out: string; readonly err: string };

/** Runs a command in this process and collects what it prints. `columns` makes its stdout a terminal of that width. */
export async function capture(
  command: Command, argv: readonly string[],
  { columns, env = {}, signal = new AbortController().signal }: { columns?: number; env?: Record<string, string>; signal?: AbortSignal } = {},
): Promise<Captured> {
  let out = '';
  let err = '';
  const status = await runCommand(command, argv, {
    out: { ...(columns === undefined ? {} : { isTTY: true, columns }), write: (text) => { out += text; return true; } },
    err: { write: (text) => { err += text; return true; } },
    env, signal,
  });
  return { status, out, err };
}
