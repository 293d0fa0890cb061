import { isRef, type Ref } from './state-store.ts';
import { workflowOf } from './workflow.ts';

/** What a delivery is about, by which others of its subscription can be told what it asks for. */
export interface Landmarks {
  readonly subject: Ref | undefined;
  /** Where the result of an activity of this delivery is, by what `RunningStep` tells of it. */
  readonly activityRef: (activity: Activity) => Ref | undefined;
}

export interface Activity {
  readonly name: string;
  readonly personal: boolean;
}

/** A document that a handler asked for. Results of activities are told by their names, since each delivery has its own. */
export type Asked = Ref | Activity;

/** Of each subscription. */
const mostTemplates = 32;
/** Deliveries in which nobody asked for it. */
const mostIdle = 4;

/**
 * What a handler will ask for, by what it asked for before: so that it comes with the first read of its delivery, where the store is far.
 * References are kept as templates, with the ids of the workflow and of what the event is
 * about left open; a guess that was wrong costs one document more in the same request, and is forgotten after a few deliveries.
 */
export class Foresight {
  /** By subscription, and template: in how many deliveries since nobody asked for it. */
  readonly #asked = new Map<string, Map<string, number>>();

  /** What is worth reading before anybody asks. What the event is about always: its chain grows, whether it is asked for or not. */
  ahead(subscription: string, landmarks: Landmarks): Ref[] {
    const { subject } = landmarks;
    const templates = [...(this.#asked.get(subscription)?.keys() ?? [])];
    const refs = [subject, ...templates.map((template) => refOfTemplate(template, landmarks))];
    // What comes from outside, or is made of that, may be none: the store would refuse all of the request.
    return [...new Set(refs.filter((ref) => ref !== undefined))].filter(isRef);
  }

  learn(subscription: string, landmarks: Landmarks, asked: Iterable<Asked>): void {
    const before = this.#asked.get(subscription) ?? new Map<string, number>();
    const now = new Map([...asked].map((each) => [templateOf(each, landmarks), 0]));
    const idle = [...before].flatMap(([template, deliveries]): [string, number][] =>
      now.has(template) || deliveries === mostIdle ? [] : [[template, deliveries + 1]],
    );
    this.#asked.set(subscription, new Map([...now, ...idle].slice(0, mostTemplates)));
  }
}

/** No reference holds a brace: those are percent-encoded. */
const workflowHere = '{workflow}';
const subjectHere = '{subject}';
const activityHere = '{activity}';

function templateOf(asked: Asked, { subject }: Landmarks): string {
  if (typeof asked !== 'string') return activityHere + JSON.stringify([asked.name, asked.personal]);
  const [workflowId, subjectId] = idsOf(subject);
  if (workflowId === undefined) return asked;
  const ids = [workflowId, ...(subjectId === undefined ? [] : [subjectId])].map((id) => RegExp.escape(id));
  return asked.replaceAll(new RegExp(ids.join('|'), 'g'), (id) => (id === workflowId ? workflowHere : subjectHere));
}

/** None where it is about something that this delivery has not. */
function refOfTemplate(template: string, { subject, activityRef }: Landmarks): Ref | undefined {
  if (template.startsWith(activityHere)) {
    const [name, personal] = JSON.parse(template.slice(activityHere.length));
    return activityRef({ name, personal });
  }
  const [workflowId, subjectId] = idsOf(subject);
  const open: Readonly<Record<string, string | undefined>> = { [workflowHere]: workflowId, [subjectHere]: subjectId };
  let isKnown = true;
  const ref = template.replaceAll(/\{\w+\}/g, (place) => {
    isKnown &&= open[place] !== undefined;
    return open[place] ?? '';
  });
  return isKnown ? ref : undefined;
}

/** As they stand in references. */
function idsOf(subject: Ref | undefined): [workflow?: string, subject?: string] {
  const workflow = workflowOf(subject ?? '');
  if (workflow === undefined || !isRef(subject!)) return [];
  const ofWorkflow = workflow.slice(workflow.indexOf('/') + 1);
  return workflow === subject ? [ofWorkflow] : [ofWorkflow, subject!.slice(subject!.lastIndexOf('/') + 1)];
}
