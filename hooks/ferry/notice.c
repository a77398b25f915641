/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Tells a person, as Proxmox's own tools do: by mail to root, which Proxmox VE's notifications
 * forward (PVE/Tools.pm, sendmail; proxmox-mail-forward). */

#include "notice.h"

#include "conf/settings.h"
#include "kmod-helper/base/cleanup.h"
#include "outside.h"

#define SENDMAIL "/usr/sbin/sendmail"
#define DEADLINE_MS 20000

void notice_send(const struct context *context, const char *text)
{
	static const char *const arguments[] = {SENDMAIL, "root", NULL};
	cleanup(settings_done) struct settings settings = {0};
	char mail[1024], output[256] = "";
	const struct process_options options = {.output = PROCESS_TEXT,
		.deadline_ms = DEADLINE_MS,
		.input = mail,
		.text = output,
		.size = sizeof(output)};
	struct error error = {0};
	int r = settings_read(&context->kernel.root, 0, &settings, &error);

	/* settings that cannot be read are a matter of doctor and of the next start */
	if (r < 0 || settings.notify == NOTIFY_OFF)
		return;
	snprintf(mail, sizeof(mail), "To: root\nSubject: gpu-ferry: %s\n\n%s\n", text, text);
	r = outside_run(arguments, &options, &error);
	if (r < 0)
		log_write(&context->log, LOG_WARNING, "no mail was sent: %s", error.message);
	else if (r > 0)
		log_write(&context->log, LOG_WARNING, "no mail was sent: %s failed: %s", SENDMAIL,
			output);
}
