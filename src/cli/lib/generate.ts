// Writes docs/man/* and src/cli/completion/xos from the declarations; test/cli/lib/generate.test.ts fails when they are not in step.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { allCommands } from './catalogue.ts';
import { bashCompletion } from './completion.ts';
import { manPage, topicPage } from './man.ts';
import { topics } from './topics.ts';

const root = join(import.meta.dirname, '../../..');
const manual = 'docs/man';

/** Path below the root of the tree → what the file must hold. */
export async function generated(): Promise<ReadonlyMap<string, string>> {
  const commands = await allCommands();
  const pages = new Map(commands.map((command) => [join(manual, `${command.name}.${command.section ?? 1}`), manPage(command)]));
  for (const page of topics) pages.set(join(manual, `${page.name}.${page.section}`), topicPage(page));
  const typed = commands.filter(({ name }) => !isService(name));
  return pages.set('src/cli/completion/xos', bashCompletion(typed));
}

/** Started by supervisors and other programs: nobody types them. */
const isService = (name: string): boolean => (name.includes('-') && name !== 'xos-update' && name !== 'xos-install') || name === 'xosd' || name === 'xenter';

async function write(): Promise<void> {
  const files = await generated();
  for (const [path, content] of files) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  for (const name of readdirSync(join(root, manual))) {
    if (/\.[1-8]$/.test(name) && !files.has(join(manual, name))) rmSync(join(root, manual, name));
  }
}

if (import.meta.main) await write();
