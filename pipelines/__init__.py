"""Jobs as recipes: each module is short enough to copy and change. Installed as geounet.pipelines."""
