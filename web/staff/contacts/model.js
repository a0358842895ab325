// SPDX-License-Identifier: Apache-2.0
// Who is called, by plans, groups and shifts. Pure; the hub decides by the same rules.

/** @param {any} member @param {Date} now */
export function isOn(member, now) {
  return (!member.from || new Date(member.from) <= now) && (!member.until || now < new Date(member.until));
}

/**
 * The people of each step of a plan.
 * @param {any} plan @param {Map<string, any>} groups @param {Map<string, any>} contacts @param {Date} now
 * @returns {{ groups: any[], people: any[] }[]}
 */
export function chainOf(plan, groups, contacts, now) {
  return plan.steps.map((/** @type {string[]} */ names) => {
    const called = names.map((name) => groups.get(name)).filter(Boolean);
    const members = called.flatMap((group) => group.members ?? []).filter((member) => isOn(member, now));
    const people = [...new Set(members.map((member) => member.contact))].map((name) => contacts.get(name));
    return { groups: called, people: people.filter((one) => one && one.enabled !== false) };
  });
}

/** Whether nothing can be sent to somebody. @param {any} contact @param {any[]} browsers */
export function isOutOfReach(contact, browsers) {
  return (contact.channels ?? []).length === 0 && browsers.length === 0;
}
