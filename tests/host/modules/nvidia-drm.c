// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Stands in for nvidia-drm.ko: with modeset=1 it uses every card for as long as it is loaded, or,
 * with lets_go=1 as versions from 580.105.08 do, until the card leaves. With fbdev=1 each card has
 * a framebuffer, of which a console is a user of the module; the card lets go of it with the
 * module.
 */
#include "nvidia.h"
#include <linux/fb.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#define WIDTH 640
#define HEIGHT 400

static bool modeset = true;
module_param(modeset, bool, 0400);

static bool fbdev;
module_param(fbdev, bool, 0400);

static char version[32] = "580.105.08";
module_param_string(version, version, sizeof(version), 0444);

static bool lets_go = true;
module_param(lets_go, bool, 0444);

static unsigned long used;
static struct fb_info *framebuffers[BITS_PER_LONG];

/* Nobody looks at it. */
static void fill(struct fb_info *framebuffer, const struct fb_fillrect *area)
{
}

static void copy(struct fb_info *framebuffer, const struct fb_copyarea *area)
{
}

static void draw(struct fb_info *framebuffer, const struct fb_image *image)
{
}

static const struct fb_ops framebuffer_operations = {
	.owner = THIS_MODULE,
	.fb_fillrect = fill,
	.fb_copyarea = copy,
	.fb_imageblit = draw,
};

static void framebuffer_add(int minor)
{
	struct fb_info *framebuffer = framebuffer_alloc(0, nvidia_modeset_device(minor));

	if (!framebuffer)
		return;
	framebuffer->fbops = &framebuffer_operations;
	framebuffer->screen_buffer = vzalloc(WIDTH * HEIGHT * 4);
	framebuffer->fix = (struct fb_fix_screeninfo){.id = "nvidia-drmdrmfb",
		.visual = FB_VISUAL_TRUECOLOR,
		.line_length = WIDTH * 4,
		.smem_len = WIDTH * HEIGHT * 4};
	framebuffer->var = (struct fb_var_screeninfo){.xres = WIDTH,
		.yres = HEIGHT,
		.xres_virtual = WIDTH,
		.yres_virtual = HEIGHT,
		.bits_per_pixel = 32,
		.red = {16, 8},
		.green = {8, 8},
		.blue = {0, 8}};
	if (framebuffer->screen_buffer && register_framebuffer(framebuffer) == 0) {
		framebuffers[minor] = framebuffer;
		return;
	}
	vfree(framebuffer->screen_buffer);
	framebuffer_release(framebuffer);
}

static void framebuffer_remove(int minor)
{
	if (!framebuffers[minor])
		return;
	unregister_framebuffer(framebuffers[minor]);
	vfree(framebuffers[minor]->screen_buffer);
	framebuffer_release(framebuffers[minor]);
	framebuffers[minor] = NULL;
}

static void use(int minor)
{
	if (!modeset || test_and_set_bit(minor, &used))
		return;
	nvidia_modeset_use(minor, 1);
	if (fbdev)
		framebuffer_add(minor);
}

static void release(int minor)
{
	if (!test_and_clear_bit(minor, &used))
		return;
	framebuffer_remove(minor);
	nvidia_modeset_use(minor, -1);
}

static void leaving(int minor)
{
	if (lets_go)
		release(minor);
}

static const struct nvidia_listener listener = {
	.arrived = use,
	.leaving = leaving,
};

static ssize_t show_version(SHOWN_ATTRIBUTE *attribute, struct module_kobject *module, char *text)
{
	return sysfs_emit(text, "%s\n", version);
}

static struct module_attribute version_file = {
	.attr = {.name = "version", .mode = 0444},
	.show = show_version,
};

static int __init drm_init(void)
{
	int error = sysfs_create_file(&THIS_MODULE->mkobj.kobj, &version_file.attr);

	if (!error)
		nvidia_modeset_listen(&listener);
	return error;
}

static void __exit drm_exit(void)
{
	int minor;

	sysfs_remove_file(&THIS_MODULE->mkobj.kobj, &version_file.attr);
	nvidia_modeset_listen(NULL);
	for (minor = 0; minor < BITS_PER_LONG; minor++)
		release(minor);
}

module_init(drm_init);
module_exit(drm_exit);
MODULE_DESCRIPTION("gpu-ferry test: stands in for nvidia-drm.ko");
MODULE_LICENSE("GPL");
