"""Jobs as recipes, short enough to copy and change; installed as geounet.pipelines."""
