import { cancel } from './cancel.ts';
import { create } from './create.ts';
import { decide } from './decide.ts';
import { redrive } from './redrive.ts';
import { respond } from './respond.ts';

export default [create, cancel, decide, respond, redrive];
